"""Users ask a server on and on while a fault strikes every 20 s: nothing wrong, nothing grows.

    python -m tests.faults.soak [--seconds 1800] [--seed 1]

Each user asks one thing after another. Each text is compared with the undisturbed one. Each kind of
fault strikes once before any does again: the server is warm when it has met all of them, since each
makes it load code and begin threads that it had no use for before. From then on its memory is
looked at. What gets not one token for two minutes hangs. Ends with 1 if a text differs or fails, if
anything hangs, if the server's memory grows, or if the time was too short to tell. Needs root.
"""

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.process_memory import memory_of
from benchmarks.soak.memory import MOST_GROWTH_MIB, Growth
from tests.faults.home import Home
from tests.faults.plan import ON_NODES, Ask, Fault, draw_rounds, each_kind_once
from tests.faults.striking import Undo, strike
from tests.faults.tally import Findings, difference
from tests.faults.trial import HANG_S, answers_undisturbed

_NODES, _USERS, _EVERY_S, _LONGEST_S = 3, 8, 20.0, 15.0
_PLANNED = 600  # faults, which is more than fit in any soak
_FEWEST_LOOKS = 100  # of each tenth of them a median is taken


class Soak:
    """One home for all of it."""

    def __init__(self, home: Home, seed: int, found: Findings) -> None:
        rounds = draw_rounds(seed, _PLANNED, ON_NODES, _LONGEST_S)
        drawn = [f for one in rounds if one.nodes == _NODES for f in one.faults]
        self._faults = each_kind_once(drawn)
        self._asks = list(dict.fromkeys(ask for one in rounds for ask in one.asks))
        self._home, self._found = home, found
        self._draw = random.Random(seed)
        self._asked: dict[int, Ask] = {}
        self._heard_s: dict[int, float] = {}
        """When something came of each that is asked. One strike after another makes it slow."""
        self._number = 0
        self.looks: list[tuple[int, float]] = []
        """Faults so far, and MiB that the server holds, when an answer was whole and it warm."""

    def run(self, seconds: float) -> None:
        """Ask and strike for so long, then wait for what is under way."""
        whole = answers_undisturbed(self._home, self._asks)
        begun = time.monotonic()
        for _ in range(_USERS):
            self._ask()
        next_s, undo = begun + _EVERY_S / 2, _Undoing()
        while self._asked:
            now = time.monotonic()
            undo.until(now)
            if begun + seconds > now >= next_s:
                next_s += _EVERY_S
                self._strike(self._faults.pop(0), undo)
            if now - min(self._heard_s.values()) > HANG_S:
                self._found.hangs.append(f"after {now - begun:.0f} s")
                break
            is_whole = self._hear(whole, goes_on=now < begun + seconds)
            # Beside each piece it would take longer than the pieces do, and see hangs in that.
            if is_whole and self._found.faults > len(ON_NODES):
                self._look()
        undo.until(float("inf"))

    def _ask(self) -> None:
        assert self._home.asker
        ask = self._draw.choice(self._asks)
        self._number += 1
        self._asked[self._number] = ask
        self._heard_s[self._number] = time.monotonic()
        self._home.asker.ask(self._number, self._home.url, [ask])

    def _strike(self, fault: Fault, undo: "_Undoing") -> None:
        print(f"{fault.kind.value} (pi{fault.host}, {fault.lasts_s:g} s)", file=sys.stderr)
        undo.add(time.monotonic() + fault.lasts_s, strike(self._home, fault))
        self._found.faults += 1

    def _hear(self, whole: Mapping[Ask, Mapping[str, Any]], *, goes_on: bool) -> bool:
        """Take what the asking program tells next; whether an answer is whole by it."""
        assert self._home.asker
        try:
            line = self._home.asker.next(0.5)
        except TimeoutError:
            return False
        number = line.get("round")
        if number not in self._asked:
            return False
        if "piece" in line:
            self._heard_s[number] = time.monotonic()
            return False
        ask = self._asked.pop(number)
        del self._heard_s[number]
        self._found.answers += 1
        if "error" in line:
            self._found.failed.append(line["error"])
        elif differs := difference(line["answer"], whole[ask]):
            self._found.wrong.append(differs)
        if goes_on:
            self._ask()
        return True

    def _look(self) -> None:
        assert self._home.server
        held = memory_of(self._home.server.process.pid, 0)
        self.looks.append((self._found.faults, held.others_bytes / 2**20))


class _Undoing:
    """What ends the faults, when each is due."""

    def __init__(self) -> None:
        self._due: list[tuple[float, Undo]] = []

    def add(self, moment: float, undo: Undo) -> None:
        """Do this then."""
        self._due.append((moment, undo))

    def until(self, now: float) -> None:
        """Do what is due."""
        for due in [due for due in self._due if due[0] <= now]:
            self._due.remove(due)
            due[1]()


def main() -> None:
    """Soak, and say what was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak")
    parser.add_argument("--seconds", type=float, default=1800.0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    found = Findings()
    with tempfile.TemporaryDirectory() as name, Home(_NODES, Path(name)) as home:
        soak = Soak(home, options.seed, found)
        soak.run(options.seconds)
        if found.bad:
            print("\n".join(home.last_words()), file=sys.stderr)
    for bad in found.bad:
        print(f"BAD {bad[:600]}")
    print(f"{found.sentence()}; seed {options.seed}")
    is_flat = _is_flat(soak.looks)
    sys.exit(0 if found.is_good and is_flat else 1)


def _is_flat(looks: Sequence[tuple[int, float]]) -> bool:
    """Say how the server's memory has grown since it was warm; whether it did not."""
    if len(looks) < _FEWEST_LOOKS:
        print(f"server: {len(looks)} looks at its memory since it was warm are TOO FEW to tell")
        return False
    growth = Growth.of(*zip(*looks, strict=True))
    verdict = "flat" if growth.is_flat else f"GROWS by more than {MOST_GROWTH_MIB:.0f} MiB"
    print(
        f"server: {growth.start:.1f} MiB when warm, {growth.end:.1f} MiB at the end, by least "
        f"squares {growth.slope / 10:+.1f} MiB in 100 faults: {verdict}"
    )
    return growth.is_flat


if __name__ == "__main__":
    main()
