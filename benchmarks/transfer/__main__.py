"""How fast shards reach three nodes, against a plain copy; and what an interrupted transfer costs.

    python -m benchmarks.transfer [--megabytes N] [--rounds N] [--only speed|interruptions]

The network is emulated: four hosts on a Gigabit switch (``tests/testbed/network/``), all on this
machine, whose processors also do the switching. Three real workers with mutual TLS receive a
gigabyte each, hashed and synced, as ``pi-cluster up`` sends them; in turn with that the same files
go over the same links by three plain TCP sockets, written to disk and neither checked nor synced.

Then a gigabyte goes to one worker, with TLS, over a link of 100 MB/s on loopback, while ten times
at random the connection is cut, the worker killed and started again, or the operator killed and
its command run again. What reaches the worker's port is counted.

Needs root and gcc, 7 GB of disk, and takes about three minutes. The last line is JSON.
"""

import argparse
import functools
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from operator import le
from pathlib import Path

from benchmarks.json_process import ROOT, JsonProcess
from benchmarks.kernels.report import Row, as_json, table
from benchmarks.transfer.certificates import certify, make_authority
from benchmarks.transfer.interruptions import HandOutFailed, Outcome, interrupted_hand_out
from benchmarks.transfer.store import even_ranges, make_store
from benchmarks.workers import worker
from pi_cluster.cluster.store.store import Store
from tests.testbed.network.network import Network, NetworkError

_NODES = (1, 2, 3)  # hosts of the network; the operator's computer is host 0
_FILES_OF_EACH = 8
_MOST_RATIO = 1.3
_MOST_AGAIN = 0.05
_INTERRUPTIONS = 10
_INTERRUPTED_BYTES_PS = 100e6
_SPEED, _INTERRUPTED = "speed", "interruptions"


def main() -> None:
    """Measure and print; ends with 1 if anything is missed."""
    options = _options()
    rows: list[Row] = []
    try:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            if _SPEED in options.only:
                rows.append(_speed(folder, options.megabytes, options.rounds))
            if _INTERRUPTED in options.only:
                rows.append(_interrupted(folder, options.megabytes, options.seed))
    except (NetworkError, HandOutFailed) as error:
        sys.exit(f"benchmarks.transfer: {error}")
    print(table(rows))
    print(json.dumps(as_json(rows)))
    sys.exit(any(row.verdict != "reached" for row in rows))


def _speed(folder: Path, megabytes: int, rounds: int) -> Row:
    layers = _FILES_OF_EACH * len(_NODES)
    store = make_store(folder / "store", layers, megabytes * 1_000_000 // _FILES_OF_EACH)
    copies, hand_outs = [], []
    with Network(1 + len(_NODES), "gbe") as network:
        for number in range(rounds):
            copies.append(_copy(network, store, folder))
            hand_outs.append(_hand_out(network, store, folder / f"round-{number}"))
            _say(f"copy {copies[-1]:.2f} s, hand-out {hand_outs[-1]:.2f} s (emulated network)")
    copy_s, hand_out_s = statistics.median(copies), statistics.median(hand_outs)
    what = f"{megabytes} MB to each of {len(_NODES)} nodes, TLS : plain TCP copy, emulated Gigabit"
    gigabits_ps = 8e-9 * store.manifest.size_bytes
    note = (
        f"{hand_out_s:.1f} s, {gigabits_ps / hand_out_s:.2f} Gbit/s; copy {copy_s:.1f} s, "
        f"{gigabits_ps / copy_s:.2f} Gbit/s; medians of {rounds}"
    )
    return Row("speed", what, le, _MOST_RATIO, "x", hand_out_s / copy_s, note)


def _copy(network: Network, store: Store, folder: Path) -> float:
    """Seconds that a plain copy takes."""
    files = [
        [str(store.path_of(file)) for file in store.manifest.stage_files(part.start, part.stop)]
        for part in even_ranges(store.manifest.n_layers, len(_NODES))
    ]
    copies = [folder / f"copy-{host}" for host in _NODES]
    with ExitStack() as stack:
        sender = stack.enter_context(_copier(network, 0, "send", folder))
        receivers = [
            stack.enter_context(_copier(network, host, "receive", folder)) for host in _NODES
        ]
        addresses = [
            [network.address(host), receiver.ask("listen", address=network.address(host))["port"]]
            for host, receiver in zip(_NODES, receivers, strict=True)
        ]
        pool = stack.enter_context(ThreadPoolExecutor())
        received = [
            pool.submit(receiver.ask, "receive", path=str(path))
            for receiver, path in zip(receivers, copies, strict=True)
        ]
        seconds = float(sender.ask("send", files=files, addresses=addresses)["seconds"])
        total = sum(one.result()["bytes"] for one in received)
    for path in copies:
        path.unlink()
    assert total == store.manifest.size_bytes, total
    return seconds


def _copier(network: Network, host: int, end: str, folder: Path) -> JsonProcess:
    command = [sys.executable, "-m", "benchmarks.transfer.copying", end]
    return JsonProcess(
        command, folder / f"copier-{host}.log", functools.partial(network.popen, host)
    )


def _hand_out(network: Network, store: Store, folder: Path) -> float:
    """Seconds that handing out takes, to workers that hold nothing yet."""
    with ExitStack() as stack:
        folder.mkdir()
        stack.callback(shutil.rmtree, folder)
        authority = make_authority(folder / "authority")
        addresses = []
        for host in _NODES:
            data_dir = folder / f"node-{host}"
            certify(authority, data_dir)
            popen = functools.partial(network.popen, host)
            listen = f"{network.address(host)}:0"
            addresses.append(
                stack.enter_context(worker(data_dir, listen=listen, popen=popen)).address
            )
        command = [sys.executable, "-m", "benchmarks.transfer.operator", str(store.path)]
        command += [str(folder / "authority"), *addresses]
        operator = network.popen(0, command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        answer, _ = operator.communicate()
    if operator.returncode:
        raise HandOutFailed("the operator ended with an error, which stands above")
    return float(json.loads(answer.splitlines()[-1])["seconds"])


def _interrupted(folder: Path, megabytes: int, seed: int) -> Row:
    store = make_store(folder / "one", _FILES_OF_EACH, megabytes * 1_000_000 // _FILES_OF_EACH)
    scene = folder / "interrupted"
    scene.mkdir()
    outcome = interrupted_hand_out(
        store, scene, _INTERRUPTIONS, _INTERRUPTED_BYTES_PS, seed, patience_s=600
    )
    _say(f"{outcome.arrived_bytes} bytes arrived of {outcome.size_bytes}")
    what = f"{megabytes} MB, TLS, loopback, interrupted {_INTERRUPTIONS} times: sent again"
    return Row(
        _INTERRUPTED, what, le, 100 * _MOST_AGAIN, "%", 100 * outcome.sent_again, _how(outcome)
    )


def _how(outcome: Outcome) -> str:
    kinds = [kind.value for kind in outcome.interruptions]
    return ", ".join(f"{kinds.count(kind)} x {kind}" for kind in sorted(set(kinds)))


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _options(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--megabytes", type=int, default=1000, help="to each node")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1, help="of the interruptions")
    parts = [_SPEED, _INTERRUPTED]
    parser.add_argument("--only", nargs="+", choices=parts, default=parts, metavar="PART")
    return parser.parse_args(words)


if __name__ == "__main__":
    main()
