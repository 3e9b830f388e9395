"""What a campaign counts, and the table that tells it. Pure."""

import itertools
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

WARM_LOOKS = 3
"""A process has its connections and its pools of threads by then, whoever has asked."""
MOST_MORE_DESCRIPTORS = 24
MOST_MORE_THREADS = 16
"""Those differ by who has called last; what leaks with each fault grows beyond."""

NO_FAULT = "none: before the first and after the last"
_AROUND = 20
_HEAD = (
    "| emulated fault | faults | answers | wrong | failed | hangs | leaks | mean s | worst s |\n"
    "|---|---:|---:|---:|---:|---:|---:|---:|---:|"
)


@dataclass(slots=True)
class Findings:
    """Of one round, or of several."""

    faults: int = 0
    answers: int = 0
    wrong: list[str] = field(default_factory=list)
    """Answers that differ from the undisturbed ones."""
    failed: list[str] = field(default_factory=list)
    """Answers that ended with an error."""
    hangs: list[str] = field(default_factory=list)
    """What had no end in time, or could not be brought up again."""
    leaks: list[str] = field(default_factory=list)
    heal_s: list[float] = field(default_factory=list)
    """The longest pause of each round since its first fault."""

    @property
    def bad(self) -> list[str]:
        """All that must not be."""
        return [*self.wrong, *self.failed, *self.hangs, *self.leaks]

    @property
    def is_good(self) -> bool:
        """Whether there were answers, and nothing bad."""
        return self.answers > 0 and not self.bad

    def add(self, other: "Findings") -> None:
        """Count what another found too."""
        for one in fields(self):
            setattr(self, one.name, getattr(self, one.name) + getattr(other, one.name))

    def sentence(self) -> str:
        """All of it in a line."""
        return (
            f"{self.faults} faults, {self.answers} answers: {len(self.wrong)} wrong, "
            f"{len(self.failed)} failed, {len(self.hangs)} hangs, {len(self.leaks)} leaks"
        )

    def row(self, name: str) -> str:
        """All of it in a line of the table."""
        bad = (len(found) for found in (self.wrong, self.failed, self.hangs, self.leaks))
        mean = f"{statistics.mean(self.heal_s):.1f}" if self.heal_s else ""
        worst = f"{max(self.heal_s):.1f}" if self.heal_s else ""
        cells = (name, self.faults, self.answers, *bad, mean, worst)
        return f"| {' | '.join(map(str, cells))} |"


class Tally:
    """Of all rounds so far."""

    def __init__(self) -> None:
        self._kinds: dict[str, Findings] = defaultdict(Findings)

    def add(self, kind: str, found: Findings) -> None:
        """Count a round, by what struck in it."""
        self._kinds[kind].add(found)

    @property
    def total(self) -> Findings:
        """Of every kind."""
        total = Findings()
        for found in self._kinds.values():
            total.add(found)
        return total

    def table(self) -> str:
        """By kind: how often, what came of it, and the seconds without a token."""
        kinds = sorted(self._kinds.items())
        rows = [found.row(kind) for kind, found in kinds if found.faults or found.bad]
        return "\n".join([_HEAD, *rows, self.total.row("all")])


class Looks:
    """At processes at rest: the descriptors and threads of each while it got warm."""

    def __init__(self) -> None:
        self._looks: dict[tuple[str, int], list[tuple[int, int]]] = defaultdict(list)

    def grown(self, name: str, process_id: int, held: tuple[int, int]) -> list[str]:
        """What a process holds more of than it did when it was warm."""
        looks = self._looks[name, process_id]
        if len(looks) < WARM_LOOKS:
            looks.append(held)
            return []
        first = tuple(max(column) for column in zip(*looks, strict=True))
        names, most = ("descriptors", "threads"), (MOST_MORE_DESCRIPTORS, MOST_MORE_THREADS)
        return [
            f"{name} has {now} {what}, {begun} when warm"
            for what, begun, now, more in zip(names, first, held, most, strict=True)
            if now > begun + more
        ]


def longest_pause_s(moments: Iterable[float], struck: float) -> float:
    """The longest time without a token of anybody from a fault on, in seconds.

    ``moments`` are those of all tokens and ends of answers, in order.
    """
    after = [struck, *(moment for moment in moments if moment > struck)]
    return max((b - a for a, b in itertools.pairwise(after)), default=0.0)


def difference(told: Mapping[str, Any], undisturbed: Mapping[str, Any]) -> str:
    """Where an answer differs from the undisturbed one; empty where it does not.

    Through a server there are no ids, but the text.
    """
    for part in ("ids", "text"):
        if part in told and told[part] != undisturbed[part]:
            return f"its {part} differ {_where(told[part], undisturbed[part])}"
    return ""


def _where(told: Sequence[object], undisturbed: Sequence[object]) -> str:
    """The first place where two sequences differ, and what stands around it in each."""
    pairs = itertools.zip_longest(told, undisturbed)
    at = next(at for at, (one, other) in enumerate(pairs) if one != other)
    near = slice(max(0, at - _AROUND), at + _AROUND)
    return (
        f"at {at} of {len(undisturbed)}, {len(told)} are told: {told[near]!r}, "
        f"undisturbed {undisturbed[near]!r}"
    )
