"""One round: users ask, faults strike, all is answered, and what is left is looked at."""

import re
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.faults.home import Home
from tests.faults.plan import Ask, Fault, Kind, Round
from tests.faults.striking import Undo, strike
from tests.faults.tally import Findings, Looks, difference, longest_pause_s

HANG_S = 120.0
"""Whatever has struck, all are answered by then."""
QUIET_S = 40.0
"""Whoever has ended, nothing is left of it on any node by then."""
POLL_S = 0.25
_NUMBER = re.compile(r":\[\d+\]")
_PROCESS = re.compile(r"\(process (\d+)\)")

Told = Mapping[str, Any]


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
        self, home: Home, one: Round, undisturbed: Mapping[Ask, Told], looks: Looks
    ) -> None:
        self._home, self._one, self._looks = home, one, looks
        self._undisturbed = undisturbed
        self.found = Findings()
        """So far."""
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
            self.found.faults = len(self._one.faults)
            self.found.heal_s.append(longest_pause_s(self._moments, struck))
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
                self.found.hangs.append(f"{self._where}: users {users} have no answer")
                self._moments.append(now)  # so long was the pause, at least
                return
            for due in [due for due in self._undo if due[0] <= now]:
                self._undo.remove(due)
                due[1]()
            try:
                self._hear(POLL_S)
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
        self.found.answers += 1
        ask, who = self._one.asks[user], f"{self._where}, user {user}"
        if "error" in line:
            self.found.failed.append(f"{who}: {line['error']}")
        elif differs := difference(line["answer"], self._undisturbed[ask]):
            self.found.wrong.append(f"{who}: {differs}")

    def _all_over(self) -> None:
        """All faults end; nodes that did not come up, on a full disk, say, are started again."""
        while self._undo:
            self._undo.pop()[1]()
        for node in self._home.nodes.values():
            if not node.is_running:
                node.begin()
            try:
                node.wait()
            except AssertionError:
                node.begin()  # as its service does; it ended because the disk was full
                node.wait()

    def _look_for_leaks(self) -> None:
        """Once nobody asks, nodes hold nothing of the dead; then the pipeline has all of them."""
        deadline = time.monotonic() + QUIET_S
        while held := self._held():
            if time.monotonic() > deadline:
                self.found.leaks.append(f"{self._where}: nodes still hold {held}")
                break
            time.sleep(POLL_S)
        while grown := self._grown():
            if time.monotonic() > deadline:
                self.found.leaks += [f"{self._where}: {found}" for found in grown]
                break
            time.sleep(POLL_S)
        if held or not self._home.is_whole():
            self._home.up()

    def _grown(self) -> list[str]:
        """What processes hold more of than when they were warm, and what their descriptors are."""
        # What has not been asked has not begun to use what it will keep.
        idle = "client" if self._one.through_server else "server"
        grown = []
        for name, process in self._home.programs().items():
            if name != idle:
                counts = (process.num_fds(), process.num_threads())
                told = self._looks.grown(name, process.pid, counts)
                grown += [f"{found}: {_descriptors(process.pid)}" for found in told]
        return grown

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
        return found is not None and int(found[1]) in living and told["sequences"] <= told["most"]


def _descriptors(process_id: int) -> dict[str, int]:
    """What a process has open: how many of each kind."""
    kinds: Counter[str] = Counter()
    for entry in Path(f"/proc/{process_id}/fd").iterdir():
        with suppress(FileNotFoundError):  # it is closed meanwhile
            kinds[_NUMBER.sub("", str(entry.readlink()))] += 1
    return dict(kinds)
