"""Steps as they go into a pipeline, and as they come back."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from pi_cluster.cluster.errors import NodeError
from pi_cluster.cluster.wire.arrays import unpack_floats, unpack_ids
from pi_cluster.protos import pi_cluster_pb2 as pb
from pi_cluster.transformer.sampling import Candidates, Ids, top_candidates

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class StepChunk:
    """Consecutive positions of one sequence on their way into the pipeline.

    ``start`` may lie below what was sent before: the stages then forget the rest. ``logit_rows`` of
    the last rows come back with their ``candidates`` best logits (0: all of them), each of those
    that are ``allowed`` to follow it (empty: of all; one for each of these rows, or none). With
    ``prefix_of`` a new sequence begins with the first ``start`` positions of that one.
    """

    sequence: int
    start: int
    ids: Sequence[int]
    logit_rows: int = 0
    candidates: int = 0
    prefix_of: int = 0
    allowed: Sequence[bytes] = ()
    log_sum: bool = False
    wants_states: bool = False
    """Whether ``logit_rows`` want their states behind the final norm instead of logits."""


@dataclass(frozen=True, slots=True)
class RowState:
    """A position of a sequence as the head sees it. Shape: ``values (dim,) float32``."""

    sequence: int
    position: int
    values: Floats


@dataclass(frozen=True)
class RowLogits:
    """What may follow one position of a sequence: the best ids, or all of the vocabulary."""

    sequence: int
    position: int
    ids: Ids | None
    """Best first; None where all were asked for, and ``logits`` are in the order of their ids."""
    logits: Floats
    log_sum: float = 0.0
    """Over all logits; 0 where it was not asked for."""

    @cached_property
    def candidates(self) -> Candidates:
        """Best first, sorted when they are first asked for: a vocabulary takes milliseconds."""
        if self.ids is None:
            return top_candidates(self.logits, 0)
        return Candidates(self.ids, self.logits)


@dataclass(frozen=True, slots=True)
class StageTime:
    """What one stage did for one step, in seconds."""

    compute_s: float
    idle_s: float
    """The stage waited for the step."""
    queued_s: float
    """The step waited for the stage."""
    began_s: float = 0.0
    """By the stage's own clock."""


@dataclass(frozen=True, slots=True)
class StepResult:
    """A step that has passed all stages."""

    step: int
    rows: tuple[RowLogits, ...]
    stages: tuple[StageTime, ...]
    states: tuple[RowState, ...] = ()
    faults: Mapping[int, NodeError] = field(default_factory=dict)
    """Sequences with a row that is worth nothing, and why."""


def chunk_on_wire(chunk: StepChunk) -> pb.Chunk:
    """A chunk as stages are told of it; its ids go beside it."""
    return pb.Chunk(
        sequence=chunk.sequence,
        start=chunk.start,
        rows=len(chunk.ids),
        logit_rows=chunk.logit_rows,
        candidates=chunk.candidates,
        prefix_of=chunk.prefix_of,
        allowed=chunk.allowed,
        log_sum=chunk.log_sum,
        state=chunk.wants_states,
    )


def step_result(
    message: pb.StepResult, wanted: Container[int], stages: int, vocab_size: int
) -> StepResult:
    """What the last stage returned of a step, as far as its sequences are wanted.

    Raises ``NodeError`` where not all of the stages have reported. A row that is worth nothing is a
    fault of its sequence alone.
    """
    if len(message.timings) != stages:
        raise NodeError(
            f"{len(message.timings)} of {stages} stages reported on a step: "
            "bring the pipeline up again"
        )
    rows, states, faults = list[RowLogits](), list[RowState](), dict[int, NodeError]()
    for row in message.rows:
        if row.sequence in wanted:
            try:
                if row.state:
                    states.append(_row_state(row))
                else:
                    rows.append(_row_logits(row, vocab_size))
            except NodeError as error:
                faults[row.sequence] = error
    times = tuple(_stage_time(timing) for timing in message.timings)
    return StepResult(message.step, tuple(rows), times, tuple(states), faults)


def _row_state(row: pb.RowLogits) -> RowState:
    """What the last stage returned of a row whose state was asked for."""
    return RowState(row.sequence, row.position, unpack_floats(row.state, 1)[:, 0])


def _row_logits(row: pb.RowLogits, vocab_size: int) -> RowLogits:
    """What the last stage returned of a row. Raises ``NodeError`` where it is worth nothing."""
    logits = unpack_floats(row.logits, 1)[:, 0]
    ids = unpack_ids(row.ids) if row.ids else np.arange(len(logits), dtype=np.int32)
    if len(ids) != len(logits) or not len(ids) or ids.min() < 0 or ids.max() >= vocab_size:
        raise NodeError("the last stage returned candidates that are no tokens of this model")
    return RowLogits(row.sequence, row.position, ids if row.ids else None, logits, row.log_sum)


def _stage_time(timing: pb.StageTiming) -> StageTime:
    """What a stage told of its work on a step."""
    durations = (timing.compute_ns, timing.idle_ns, timing.queued_ns, timing.began_ns)
    return StageTime(*(nanoseconds / 1e9 for nanoseconds in durations))
