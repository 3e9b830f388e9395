"""What a campaign counts, and the table that tells it. Pure."""

import itertools
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.faults.plan import Round

WARM_LOOKS = 3
"""A process has its connections and its pools of threads by then, whoever has asked."""
MOST_MORE_DESCRIPTORS = 24
MOST_MORE_THREADS = 16
"""Those differ by who has called last; what leaks with each fault grows beyond."""

_AROUND = 20


@dataclass(slots=True)
class Tally:
    """Of all rounds so far."""

    answers: int = 0
    faults: int = 0
    wrong: list[str] = field(default_factory=list)
    """Answers that differ from the undisturbed ones."""
    failed: list[str] = field(default_factory=list)
    """Answers that ended with an error."""
    hangs: list[str] = field(default_factory=list)
    leaks: list[str] = field(default_factory=list)
    heal_s: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """By what struck; two at once are a kind of their own."""
    looks: dict[tuple[str, int], list[tuple[int, int]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    """At each process at rest, in order: its descriptors and threads."""

    @property
    def bad(self) -> list[str]:
        """All that must not be."""
        return [*self.wrong, *self.failed, *self.hangs, *self.leaks]

    @property
    def is_good(self) -> bool:
        """Whether there were answers, and nothing bad."""
        return self.answers > 0 and not self.bad

    def healed(self, one: Round, seconds: float) -> None:
        """A round's longest pause since its first fault."""
        self.faults += len(one.faults)
        kinds = [fault.kind.value for fault in one.faults]
        self.heal_s[kinds[0] if len(kinds) == 1 else "two at once"].append(seconds)

    def seen(self, where: str, name: str, process_id: int, held: tuple[int, int]) -> None:
        """A process at rest, with the descriptors and threads that it holds."""
        looks = self.looks[name, process_id]
        looks.append(held)
        if len(looks) <= WARM_LOOKS:
            return
        first = tuple(max(column) for column in zip(*looks[:WARM_LOOKS], strict=True))
        most = (MOST_MORE_DESCRIPTORS, MOST_MORE_THREADS)
        for what, begun, now, more in zip(
            ("descriptors", "threads"), first, held, most, strict=True
        ):
            if now > begun + more:
                self.leaks.append(f"{where}: {name} has {now} {what}, {begun} when warm")

    def table(self) -> str:
        """By kind: how often, and the seconds without a token."""
        lines = ["| what happened | times | mean s | worst s |", "|---|---:|---:|---:|"]
        for kind, seconds in sorted(self.heal_s.items()):
            mean, worst = statistics.mean(seconds), max(seconds)
            lines.append(f"| {kind} | {len(seconds)} | {mean:.1f} | {worst:.1f} |")
        return "\n".join(lines)

    def sentence(self) -> str:
        """All of it in a line."""
        return (
            f"{self.faults} faults, {self.answers} answers: {len(self.wrong)} wrong, "
            f"{len(self.failed)} failed, {len(self.hangs)} hangs, {len(self.leaks)} leaks"
        )


def longest_pause_s(moments: list[float], struck: float) -> float:
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
