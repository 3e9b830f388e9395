"""What is to be done about a pipeline whose session was lost. Pure: it calls nobody.

Whoever acts (`healer.py`) looks at the nodes, asks here, does it, and looks again.
"""

import itertools
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import Enum

RETURN_S = 3.0  # a worker that ended is started again by then, where something starts it
MOST_RETURN_S = 60.0  # a Pi that boots
MOVE_BYTES_PS = 10e6  # what 100 Mbit/s or a microSD card takes in, to weigh moving against waiting
_SESSIONS = 2  # lost one after the other, over nodes that all seem well


class Remedy(Enum):
    """What can be done."""

    ASK_AGAIN = "ask again"
    """All stages are as they should be: a new session."""
    LOAD_AGAIN = "load again"
    """All nodes answer: the same stages, in a new epoch."""
    PLAN_AGAIN = "plan again"
    """Without those who are missing."""
    WAIT = "wait"


@dataclass(frozen=True, slots=True)
class StageSeen:
    """One stage of the pipeline, as its node was found."""

    node_id: str
    name: str
    answers: bool
    is_loaded: bool = False
    """Whether it serves its layers in the epoch of the pipeline."""
    has_moved: bool = False
    """Whether its address is another than the one that the stage before it was told."""
    reaches_next: bool = True


@dataclass(frozen=True, slots=True)
class Alternative:
    """What going on without the missing would take."""

    moved_bytes: int
    """That nodes lack of their new layers."""


@dataclass(frozen=True, slots=True)
class Case:
    """All that the decision goes by."""

    stages: Sequence[StageSeen]
    lost_s: float
    """Since the last sign of whoever is missing."""
    lost_sessions: int = 0
    """Since a step came back last, of those that began over stages which all seemed well."""
    may_load: bool = True
    set_aside: Collection[str] = ()
    """Ids of nodes that come and go."""
    alternative: Alternative | None = None
    """None where the others have no room, or it is not known yet."""


def missing(case: Case) -> tuple[StageSeen, ...]:
    """The stages that the pipeline has to do without for now.

    Of two that do not reach each other it is the second: everybody else may still reach the first.
    """
    gone = [one for one in case.stages if not one.answers or one.node_id in case.set_aside]
    return (*gone, *(one for one in _cut_off(case) if one not in gone))


def remedy(case: Case) -> Remedy:
    """The next thing to do."""
    if missing(case) and _can_go_on_without(case):
        return Remedy.PLAN_AGAIN
    if _cut_off(case) or not all(stage.answers for stage in case.stages):
        return Remedy.WAIT
    # Who comes and goes is there now, and nobody has room for what it holds.
    is_in_place = all(stage.is_loaded and not stage.has_moved for stage in case.stages)
    if is_in_place and (case.lost_sessions < _SESSIONS or not case.may_load):
        return Remedy.ASK_AGAIN
    return Remedy.LOAD_AGAIN if case.may_load else Remedy.WAIT


def return_s(alternative: Alternative) -> float:
    """How long a node is waited for: about as long as going on without it would take."""
    return min(max(RETURN_S, alternative.moved_bytes / MOVE_BYTES_PS), MOST_RETURN_S)


def _can_go_on_without(case: Case) -> bool:
    alternative = case.alternative
    return case.may_load and alternative is not None and case.lost_s >= return_s(alternative)


def _cut_off(case: Case) -> list[StageSeen]:
    """Stages that answer us, and not the one before them, which knows where they are."""
    return [
        after
        for before, after in itertools.pairwise(case.stages)
        if before.answers and after.answers and not (before.reaches_next or after.has_moved)
    ]
