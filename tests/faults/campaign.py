"""Runs the rounds of a plan in homes side by side, and counts.

Each home is struck by a process of its own, since a process owns its network and signals.
"""

import multiprocessing
import queue
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.context import SpawnProcess
from multiprocessing.queues import Queue
from pathlib import Path

import psutil

from tests.faults.home import Home
from tests.faults.plan import Ask, Fault, Round
from tests.faults.tally import NO_FAULT, Findings, Looks, Tally
from tests.faults.trial import POLL_S, QUIET_S, Told, Trial, answers_undisturbed
from tests.testbed.network.network import NetworkError

_MOST_TOLD = 600  # characters
_STOP_S = 60.0
_LOOK_S = 1.0
_BREAKS = (
    *(RuntimeError, AssertionError, EOFError, OSError),
    *(subprocess.SubprocessError, psutil.Error, NetworkError),
)
"""By which a round tells that its home cannot go on; time that is over is an ``OSError``."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a process that strikes a home tells."""

    nodes: int
    kind: str = NO_FAULT
    found: Findings = field(default_factory=Findings)
    answers: dict[Ask, Told] = field(default_factory=dict)
    """Undisturbed."""
    is_last: bool = False


def campaign(rounds: Sequence[Round], table: Path | None = None) -> Tally:
    """Run all rounds; the table so far is written after each of them."""
    tally, undisturbed = Tally(), dict[Ask, Told]()
    begun = time.monotonic()
    for report in _reports(rounds):
        report.found.wrong += [
            f"undisturbed, {report.nodes} nodes answer {ask} in another way"
            for ask, answer in report.answers.items()
            if undisturbed.setdefault(ask, answer) != answer
        ]
        tally.add(report.kind, report.found)
        if table:
            so_far = f"{tally.total.sentence()}; {time.monotonic() - begun:.0f} s so far"
            table.parent.mkdir(parents=True, exist_ok=True)
            table.write_text(f"{tally.table()}\n\n{so_far}\n")
    return tally


def _reports(rounds: Sequence[Round]) -> Iterator[Report]:
    """What is found, as it is found, until all rounds are over."""
    spawn = multiprocessing.get_context("spawn")
    told: Queue[Report] = spawn.Queue()
    parts = {one.nodes: [each for each in rounds if each.nodes == one.nodes] for one in rounds}
    asks = list(dict.fromkeys(ask for one in rounds for ask in one.asks))
    with _running(
        {
            nodes: spawn.Process(target=_strike_all, args=(nodes, part, asks, told))
            for nodes, part in parts.items()
        }
    ) as striking:
        while striking:
            try:
                report = told.get(timeout=_LOOK_S)
            except queue.Empty:
                for nodes, process in list(striking.items()):
                    if process.exitcode is not None and told.empty():
                        del striking[nodes]
                        ended = f"{nodes} nodes: who strikes them ended with {process.exitcode}"
                        yield Report(nodes, found=Findings(hangs=[ended]))
                continue
            if report.is_last:
                striking.pop(report.nodes).join()
            yield report


@contextmanager
def _running(processes: dict[int, SpawnProcess]) -> Iterator[dict[int, SpawnProcess]]:
    """Processes at work, by what they strike; none is left at the end."""
    try:
        for process in processes.values():
            process.start()
        yield dict(processes)
    finally:
        for process in processes.values():
            process.terminate()  # it gives disks and network back
        for process in processes.values():
            process.join(_STOP_S)
            process.kill()


def _strike_all(
    nodes: int, rounds: Sequence[Round], asks: Sequence[Ask], told: "Queue[Report]"
) -> None:
    """Run the rounds on so many nodes; a home that cannot go on is followed by a new one."""
    left = deque(rounds)
    undisturbed: dict[Ask, Told] = {}
    while left:
        try:
            with tempfile.TemporaryDirectory() as name, Home(nodes, Path(name)) as home:
                if not undisturbed:
                    undisturbed = answers_undisturbed(home, asks)
                    told.put(Report(nodes, answers=undisturbed))
                _strike(home, left, undisturbed, told)
        except _BREAKS as error:
            why = f"{nodes} nodes: no home to strike: {type(error).__name__}: {error}"
            told.put(Report(nodes, found=Findings(hangs=[why])))
            print(f"BAD {why[:_MOST_TOLD]}", file=sys.stderr, flush=True)
            break
    told.put(Report(nodes, is_last=True))


def _strike(
    home: Home, left: deque[Round], undisturbed: Mapping[Ask, Told], told: "Queue[Report]"
) -> None:
    """Run rounds until all are over, or one breaks the home."""
    looks = Looks()
    parent = multiprocessing.parent_process()
    while left:
        if parent and not parent.is_alive():
            sys.exit("nobody counts any more")
        one, begun = left.popleft(), time.monotonic()
        trial = Trial(home, one, undisturbed, looks)
        try:
            trial.run()
        except _BREAKS as error:
            broken = f"round {one.number}: {type(error).__name__}: {error}"
            trial.found.hangs.append(broken)
        told.put(Report(len(home.nodes), one.kind, trial.found))
        _tell(home, one, trial.found, time.monotonic() - begun)
        if trial.found.hangs:
            return
    told.put(Report(len(home.nodes), found=Findings(leaks=_left_behind(home))))


def _left_behind(home: Home) -> list[str]:
    """What nodes hold once the programs that asked have ended; their prefixes go too."""
    assert home.server and home.asker
    home.server.stop()
    home.asker.running.stop()
    home.start_asker()
    deadline = time.monotonic() + QUIET_S
    addresses = [node.address for node in home.nodes.values()]
    while True:
        held = home.asker.look(addresses)
        if not any(one.get("sequences", 1) for one in held):
            return []
        if time.monotonic() > deadline:
            return [f"{len(addresses)} nodes hold {held} after all programs have ended"]
        time.sleep(POLL_S)


def _tell(home: Home, one: Round, found: Findings, took_s: float) -> None:
    """A line for each round, as it is over; all that is known of it where it is bad."""
    kinds = " and ".join(_told(one.faults))
    by = "server" if one.through_server else "client"
    pause = f", at most {max(found.heal_s):.1f} s without a token" if found.heal_s else ""
    lines = [
        f"round {one.number}: {one.nodes} nodes, {len(one.asks)} by {by}, {kinds}: "
        f"{'BAD' if found.bad else 'good'}, {took_s:.1f} s{pause}"
    ]
    lines += [f"BAD {bad[:_MOST_TOLD]}" for bad in found.bad]
    lines += home.last_words() if found.bad else ()
    print("\n".join(lines), file=sys.stderr, flush=True)


def _told(faults: Iterable[Fault]) -> list[str]:
    return [
        f"{fault.kind.value} ({f'pi{fault.host}, ' if fault.host else ''}{fault.lasts_s:g} s)"
        for fault in faults
    ]
