"""How each kind of fault is made, and how it is over."""

import signal
from collections.abc import Callable
from pathlib import Path

from tests.faults.home import Home, Node
from tests.faults.plan import Fault, Kind

_LOSS = 0.2
_JUMP_S = 5 * 86_400
_OTHER = 100  # added to the last number of an address that changes
_FULL = "full"
_BLOCK = b"\0" * (1 << 20)

Undo = Callable[[], None]


def strike(home: Home, fault: Fault) -> Undo:
    """Let it happen; returns what ends it, after which all is as before or is being mended."""
    if fault.kind is Kind.COORDINATOR:
        assert home.asker
        home.asker.running.stop()
        return home.start_asker
    if fault.kind is Kind.SERVER:
        assert home.server
        home.server.stop()
        return home.start_server
    return _STRIKES[fault.kind](home, home.nodes[fault.host])


def _kill(_: Home, node: Node) -> Undo:
    node.kill()
    return node.begin


def _freeze(_: Home, node: Node) -> Undo:
    node.send(signal.SIGSTOP)
    return lambda: node.send(signal.SIGCONT)


def _unplug(home: Home, node: Node) -> Undo:
    home.network.unplug(node.host)
    return lambda: home.network.plug(node.host)


def _part(home: Home, node: Node) -> Undo:
    home.network.partition([node.host])
    return home.network.heal


def _lose(home: Home, node: Node) -> Undo:
    home.network.lose(node.host, _LOSS)
    return lambda: home.network.restore(node.host)


def _reset(home: Home, node: Node) -> Undo:
    """Both ends of all its connections are told that they are over, in the midst of anything."""
    node.run("ss", "--kill", "state", "established", "src", node.ip)
    return _nothing


def _fill(_: Home, node: Node) -> Undo:
    path = node.data_dir / _FULL
    with path.open("wb", buffering=0) as file:
        try:
            while file.write(_BLOCK) == len(_BLOCK):
                pass
        except OSError:
            pass  # it is full
    return path.unlink


def _corrupt(_: Home, node: Node) -> Undo:
    """Rot on the disk is seen by who reads it next; what is in memory stays as it was."""
    shard = max(_shards(node.data_dir), key=lambda path: path.stat().st_size)
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 0xFF
    rotten = shard.with_name("rotten")
    rotten.write_bytes(data)
    rotten.replace(shard)
    node.kill()
    return node.begin


def _shards(data_dir: Path) -> list[Path]:
    return [path for path in (data_dir / "shards").rglob("*") if path.is_file()]


def _jump(_: Home, node: Node) -> Undo:
    node.clock.set(_JUMP_S)
    return lambda: node.clock.set(0)


def _reboot(home: Home, node: Node) -> Undo:
    home.network.unplug(node.host)
    node.kill()

    def boot() -> None:
        home.network.plug(node.host)
        node.begin()

    return boot


def _move(home: Home, node: Node) -> Undo:
    """As when another lease is given: the old address is gone, and connections with it."""
    usual = home.network.address(node.host)
    first, last = usual.rsplit(".", 1)
    old = node.ip
    node.ip = f"{first}.{int(last) + _OTHER}" if old == usual else usual
    node.run("ip", "address", "del", f"{old}/24", "dev", "eth0")
    node.run("ip", "address", "add", f"{node.ip}/24", "broadcast", "+", "dev", "eth0")
    return _nothing


def _nothing() -> None:
    """It is over by itself."""


_STRIKES: dict[Kind, Callable[[Home, Node], Undo]] = {
    Kind.KILLED: _kill,
    Kind.GONE: _kill,
    Kind.FROZEN: _freeze,
    Kind.CABLE: _unplug,
    Kind.PARTITION: _part,
    Kind.LOSS: _lose,
    Kind.RESET: _reset,
    Kind.FULL: _fill,
    Kind.CORRUPTED: _corrupt,
    Kind.CLOCK: _jump,
    Kind.REBOOTED: _reboot,
    Kind.MOVED: _move,
}
