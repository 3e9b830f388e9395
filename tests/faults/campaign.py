"""Runs the rounds of a plan, one after another, and counts."""

import re
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from tests.faults.home import Home
from tests.faults.plan import Ask, Fault, Kind, Round
from tests.faults.striking import Undo, strike
from tests.faults.tally import Tally, difference, longest_pause_s

HANG_S = 120.0
"""Whatever has struck, all are answered by then."""
_QUIET_S = 40.0
_POLL_S = 0.25
_PROCESS = re.compile(r"\(process (\d+)\)")
_MOST_TOLD = 600  # characters

Told = Mapping[str, Any]


def run(rounds: Sequence[Round], tally: Tally) -> None:
    """All rounds, in homes of as many nodes as they say."""
    undisturbed: dict[Ask, Told] = {}
    for nodes, group in groupby(rounds, lambda one: one.nodes):
        with tempfile.TemporaryDirectory() as name, Home(nodes, Path(name)) as home:
            mine = list(group)
            questions = dict.fromkeys(ask for one in rounds for ask in one.asks)
            missing = [ask for ask in questions if ask not in undisturbed]
            undisturbed |= answers_undisturbed(home, missing)
            for one in mine:
                begun = time.monotonic()
                before = set(tally.bad)
                Trial(home, one, undisturbed, tally).run()
                _tell(home, one, tally, before, time.monotonic() - begun)
            _end(home, nodes, tally)


def _end(home: Home, nodes: int, tally: Tally) -> None:
    """The programs that asked end: their prefixes go too."""
    assert home.server and home.asker
    home.server.stop()
    home.asker.running.stop()
    home.start_asker()
    deadline = time.monotonic() + _QUIET_S
    addresses = [node.address for node in home.nodes.values()]
    while True:
        told = home.asker.look(addresses)
        if not any(one.get("sequences", 1) for one in told):
            return
        if time.monotonic() > deadline:
            tally.leaks.append(f"{nodes} nodes still hold {told} after all programs have ended")
            return
        time.sleep(_POLL_S)


def answers_undisturbed(home: Home, asks: Sequence[Ask]) -> dict[Ask, Told]:
    """What is answered while nothing happens. Raises ``RuntimeError`` where that fails."""
    assert home.asker
    home.asker.ask(-1, "", asks)
    found: dict[Ask, Told] = {}
    while len(found) < len(asks):
        line = home.asker.next(HANG_S)
        if "error" in line:
            raise RuntimeError(f"undisturbed, and yet: {line['error']}")
        if "answer" in line:
            found[asks[line["user"]]] = line["answer"]
    return found


class Trial:
    """One round."""

    def __init__(
        self, home: Home, one: Round, undisturbed: Mapping[Ask, Told], tally: Tally
    ) -> None:
        self._home, self._one, self._tally = home, one, tally
        self._undisturbed = undisturbed
        self._waiting = set(range(len(one.asks)))
        self._moments: list[float] = []
        self._undo: list[tuple[float, Undo]] = []
        self._where = f"round {one.number}"

    def run(self) -> None:
        """Ask, strike, wait for the answers, and look at what is left."""
        self._ask()
        self._until_struck()
        struck = time.monotonic()
        was_asked = bool(self._waiting)
        for fault in self._one.faults:
            self._strike(fault)
        self._until_answered(struck)
        self._all_over()
        if was_asked:
            self._tally.healed(self._one, longest_pause_s(self._moments, struck))
        self._look_for_leaks()

    def _ask(self) -> None:
        assert self._home.asker
        url = self._home.url if self._one.through_server else ""
        self._home.asker.ask(self._one.number, url, self._one.asks)

    def _until_struck(self) -> None:
        """Wait for the moment that was drawn."""
        if not self._one.after_tokens:
            time.sleep(self._one.after_s)
            return
        while self._waiting and len(self._moments) < self._one.after_tokens:
            self._hear(HANG_S)

    def _strike(self, fault: Fault) -> None:
        undo = strike(self._home, fault)
        if fault.kind is Kind.COORDINATOR:
            time.sleep(fault.lasts_s)
            undo()
            self._ask()  # all of it: what came before has died with it
        else:
            self._undo.append((time.monotonic() + fault.lasts_s, undo))

    def _until_answered(self, struck: float) -> None:
        deadline = struck + HANG_S
        while self._waiting:
            now = time.monotonic()
            if now > deadline:
                users = ", ".join(map(str, sorted(self._waiting)))
                self._tally.hangs.append(f"{self._where}: users {users} have no answer")
                self._moments.append(now)  # so long was the pause, at least
                return
            for due in [due for due in self._undo if due[0] <= now]:
                self._undo.remove(due)
                due[1]()
            try:
                self._hear(_POLL_S)
            except TimeoutError:
                continue

    def _hear(self, timeout_s: float) -> None:
        assert self._home.asker
        line = self._home.asker.next(timeout_s)
        if line.get("round") != self._one.number:
            return
        user = line["user"]
        self._moments.append(line["at"])
        if "piece" in line or user not in self._waiting:
            return
        self._waiting.discard(user)
        self._tally.answers += 1
        ask, who = self._one.asks[user], f"{self._where}, user {user}"
        if "error" in line:
            self._tally.failed.append(f"{who}: {line['error']}")
        elif differs := difference(line["answer"], self._undisturbed[ask]):
            self._tally.wrong.append(f"{who}: {differs}")

    def _all_over(self) -> None:
        """All faults end; nodes that did not come up, on a full disk, say, are started again."""
        while self._undo:
            self._undo.pop()[1]()
        for node in self._home.nodes.values():
            if node.running is None or node.running.process.poll() is not None:
                node.begin()
            node.wait()

    def _look_for_leaks(self) -> None:
        """Once nobody asks, nodes hold nothing of the dead; then the pipeline has all of them."""
        deadline = time.monotonic() + _QUIET_S
        while held := self._held():
            if time.monotonic() > deadline:
                self._tally.leaks.append(f"{self._where}: nodes still hold {held}")
                break
            time.sleep(_POLL_S)
        # What has not been asked has not begun to use what it will keep.
        idle = "client" if self._one.through_server else "server"
        for name, process in self._home.programs().items():
            if name == idle:
                continue
            counts = (process.num_fds(), process.num_threads())
            self._tally.seen(self._where, name, process.pid, counts)
        if held or not self._home.is_whole():
            self._home.up()

    def _held(self) -> dict[str, Told]:
        assert self._home.asker
        nodes = list(self._home.nodes.values())
        told = self._home.asker.look([node.address for node in nodes])
        pairs = zip(nodes, told, strict=True)
        return {node.name: one for node, one in pairs if "error" in one or not self._may_hold(one)}

    def _may_hold(self, told: Told) -> bool:
        """Nothing, or prefixes that a program which lives keeps for reuse."""
        if not told["coordinator"]:
            return not told["sequences"]
        living = {one.process.pid for one in self._home.asking_programs().values()}
        found = _PROCESS.search(told["coordinator"])
        return bool(found) and int(found[1]) in living and told["sequences"] <= told["most"]


def _tell(home: Home, one: Round, tally: Tally, before: set[str], took_s: float) -> None:
    """A line for each round, as it is over."""
    kinds = " and ".join(_told(one.faults))
    by = "server" if one.through_server else "client"
    bad = [found for found in tally.bad if found not in before]
    verdict = "BAD" if bad else "good"
    print(
        f"round {one.number}: {one.nodes} nodes, {len(one.asks)} by {by}, {kinds}: {verdict}, "
        f"{took_s:.1f} s",
        file=sys.stderr,
        flush=True,
    )
    for found in bad:
        print(f"BAD {found[:_MOST_TOLD]}", file=sys.stderr, flush=True)
    for name, running in home.asking_programs().items() if bad else ():
        said = running.error_text[-2 * _MOST_TOLD :]
        print(f"{name}, process {running.process.pid}, said at last: {said}", file=sys.stderr)


def _told(faults: Iterable[Fault]) -> list[str]:
    return [
        f"{fault.kind.value} ({f'pi{fault.host}, ' if fault.host else ''}{fault.lasts_s:g} s)"
        for fault in faults
    ]
