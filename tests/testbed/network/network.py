"""Several hosts on this machine, on a switch whose links are as slow as those between Pis.

A host is a network namespace; ``switch.c`` is the switch. Needs root, gcc and ``nsenter``. Host 0
is the operator's computer, ``operator``; the others are called ``pi1``, ``pi2``...
"""

import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Collection
from contextlib import ExitStack, suppress
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, Self

_SOURCES = [Path(__file__).with_name(name) for name in ("switch.c", "hosts.c")]
_PACKAGES = {"gcc": "gcc", "nsenter": "util-linux"}
_STOP_S = 5.0


@dataclass(frozen=True, slots=True)
class Traffic:
    """What has gone over one host's link so far, in bytes of Ethernet frames."""

    sent: int
    """By the host, whether lost on its way or not."""
    delivered: int
    """To the host."""


@dataclass(frozen=True, slots=True)
class Profile:
    """One link between a host and the switch; from host to host it is passed twice."""

    delay_us: float
    jitter_us: float
    loss: float
    """Share of frames."""
    bits_per_s: float
    """0 sends at once."""
    queue_ms: float


PROFILES = {
    "none": Profile(0, 0, 0, 0, 0),
    "gbe": Profile(75, 5, 0, 1e9, 20),
    "fe100": Profile(1500, 10, 0, 1e8, 50),  # 3 ms one way: an old switch, or a long way
    "pi4-wifi": Profile(1500, 300, 0.0025, 80e6, 100),  # 3 ms one way, 0.5 % lost
}


class NetworkError(Exception):
    """This machine cannot have such a network; the message says what it lacks."""


class Network:
    """Hosts 0 to ``count - 1``, from ``with`` to its end, which ends their processes too.

    If this process is killed, the switch ends by itself, and all that runs in the hosts with it.
    """

    def __init__(self, count: int, profile: str) -> None:
        """Raises ``NetworkError`` when something that is needed is missing."""
        check_possible()
        self._count = count
        self._profile = PROFILES[profile]
        self._stack = ExitStack()
        self._switch: subprocess.Popen[str]
        self._namespaces: list[str] = []
        self._processes: list[subprocess.Popen[Any]] = []
        self._asking = threading.Lock()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            words = [str(self._count), *map(str, astuple(self._profile))]
            self._switch = subprocess.Popen(
                [_compiled(Path(folder)), *words],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                start_new_session=True,  # Ctrl-C is ours to handle
            )
            stack.callback(self._stop)
            assert self._switch.stdout is not None
            ready, *numbers = self._switch.stdout.readline().split() or [""]
            if ready != "ready":
                raise NetworkError("the switch did not start: it has told why above")
            self._namespaces = [f"/proc/{self._switch.pid}/fd/{number}" for number in numbers]
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *failure: object) -> None:
        self._stack.close()

    def address(self, host: int) -> str:
        """The host's IPv4 address."""
        return f"10.77.0.{10 + host}"

    def name(self, host: int) -> str:
        """What the host is called."""
        return f"pi{host}" if host else "operator"

    def hosts_file(self) -> str:
        """What ``/etc/hosts`` says where each host is found as ``NAME`` and ``NAME.local``."""
        names = [(self.address(host), self.name(host)) for host in range(self._count)]
        lines = [f"{address} {name} {name}.local\n" for address, name in names]
        return "".join(["127.0.0.1 localhost\n", *lines])

    def namespace(self, host: int) -> str:
        """The path by which a program enters the host's network, while this process lives."""
        return self._namespaces[host]

    def unplug(self, host: int) -> None:
        """Take the host's cable out: it sees no carrier, and what was under way to it is lost."""
        self._command(f"plugged {host} 0")

    def plug(self, host: int) -> None:
        """Put the host's cable in again."""
        self._command(f"plugged {host} 1")

    def partition(self, hosts: Collection[int]) -> None:
        """Let nothing pass between these hosts and the others; no host sees why."""
        for host in range(self._count):
            self._command(f"group {host} {int(host in hosts)}")

    def heal(self) -> None:
        """Let everything pass again that ``partition`` kept apart."""
        self.partition(())

    def lose(self, host: int, share: float) -> None:
        """Lose this share of the frames on the host's link from now on, each way."""
        self._command(f"loss {host} {share}")

    def restore(self, host: int) -> None:
        """Lose as few of the host's frames again as the profile says."""
        self.lose(host, self._profile.loss)

    def traffic(self, host: int) -> Traffic:
        """What has gone over the host's link so far."""
        numbers = self._ask("bytes").split()
        if len(numbers) != 2 * self._count:
            raise NetworkError("the switch did not tell its traffic: it has ended")
        return Traffic(sent=int(numbers[2 * host]), delivered=int(numbers[2 * host + 1]))

    def popen(self, host: int, command: list[str], **options: Any) -> subprocess.Popen[Any]:
        """Start a process in a host's network; ``options`` are those of ``subprocess.Popen``."""
        # In a session of its own, or Ctrl-C would reach it before us.
        process = subprocess.Popen(
            [_tool("nsenter"), f"--net={self._namespaces[host]}", "--", *command],
            start_new_session=True,
            **options,
        )
        self._processes.append(process)
        return process

    def _command(self, command: str) -> None:
        answer = self._ask(command)
        if answer != "ok":
            raise NetworkError(f"the switch did not take {command!r}: {answer or 'it has ended'}")

    def _ask(self, command: str) -> str:
        assert self._switch.stdin is not None and self._switch.stdout is not None
        with self._asking, suppress(BrokenPipeError):
            self._switch.stdin.write(f"{command}\n")
            self._switch.stdin.flush()
            return self._switch.stdout.readline().strip()
        return ""

    def _stop(self) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            _end(process)
        _end(self._switch)


def check_possible() -> None:
    """Raise ``NetworkError`` unless this process may make networks."""
    if os.geteuid():
        raise NetworkError("an emulated network needs root: run this with sudo")
    for name in _PACKAGES:
        _tool(name)
    if not Path("/dev/net/tun").exists():
        raise NetworkError("an emulated network needs /dev/net/tun: modprobe tun")


def _tool(name: str) -> str:
    if path := shutil.which(name):
        return path
    raise NetworkError(f"an emulated network needs {name}: apt install {_PACKAGES[name]}")


def _compiled(folder: Path) -> str:
    program = folder / "switch"
    sources = map(str, _SOURCES)
    command = [_tool("gcc"), "-std=gnu11", "-O2", "-o", str(program), *sources, "-lm"]
    subprocess.run(command, check=True)
    return str(program)


def _end(process: subprocess.Popen[Any]) -> None:
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe:
            pipe.close()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
