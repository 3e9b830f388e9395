"""One step through this stage: rows in, layers, and hidden states or logits out."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pi_cluster.cluster.errors import NodeError
from pi_cluster.cluster.wire.arrays import pack, unpack_floats
from pi_cluster.protos import pi_cluster_pb2 as pb
from pi_cluster.transformer.allowed import top_allowed
from pi_cluster.transformer.arithmetic import Array
from pi_cluster.transformer.sampling import log_sum_exp, top_candidates
from pi_cluster.transformer.stage import Chunk, Stage
from pi_cluster.worker.allocator import LARGE_BYTES, return_free_pages
from pi_cluster.worker.stage.outlet import Outlet
from pi_cluster.worker.stage.superseded import Batch, Superseded


@dataclass(frozen=True, slots=True)
class Computing:
    """A step that a stage computes."""

    began_ns: int
    rows: int

    @property
    def seconds(self) -> float:
        """Since it began."""
        return (time.perf_counter_ns() - self.began_ns) / 1e9


class StepComputer:
    """Computes the steps of one session, in order, and counts them.

    What is superseded meanwhile is dropped where a step begins, before the head, and at its end;
    rows of other sequences stay. Used by one thread; ``superseded`` hears of more from another.
    """

    def __init__(
        self,
        stage: Stage,
        superseded: Superseded,
        check_memory: Callable[[int], None] = lambda _: None,
    ) -> None:
        """``check_memory`` raises if there is no room for so many bytes more in the caches."""
        self._check_memory = check_memory
        self._stage = stage
        self._superseded = superseded
        self.steps = 0
        self.rows = 0
        self.present: Computing | None = None
        """The step that is computed now, for any thread."""

    def run(self, step: pb.Step, waiting_since_ns: int, arrived_ns: int, outlet: Outlet) -> None:
        """Compute a step that arrived then, and pass on what is still wanted of it."""
        try:
            self._run(step, waiting_since_ns, arrived_ns, outlet)
        finally:
            self.present = None

    def _run(self, step: pb.Step, waiting_since_ns: int, arrived_ns: int, outlet: Outlet) -> None:
        began = time.perf_counter_ns()
        self._superseded.reach(step.step)
        taken = self._unpacked(step)
        self.present = Computing(began, len(taken.rows))
        batch = self._superseded.wanted(step.step, taken)
        if taken.chunks and not batch.chunks:
            return
        self._check_memory(_new_positions(batch.chunks) * self._stage.position_bytes)
        batch = self._computed(batch)
        # Once more, since the head is the largest matrix: it need not serve what nobody wants.
        rows = self._asked_for(self._superseded.wanted(step.step, batch))
        timing = pb.StageTiming(
            idle_ns=max(0, arrived_ns - waiting_since_ns),
            queued_ns=max(0, began - arrived_ns),
            compute_ns=time.perf_counter_ns() - began,
            began_ns=began,
        )
        self.steps += 1
        self.rows += len(batch.rows)
        size = batch.rows.nbytes
        self._pass_on(step, self._superseded.wanted(step.step, batch), rows, timing, outlet)
        if size >= LARGE_BYTES:
            return_free_pages()

    def end(self, sequence: int) -> None:
        """Free what is held of a sequence."""
        self._stage.end(sequence)
        self._superseded.end(sequence)

    def clear(self) -> None:
        """Free what is held of all sequences."""
        self._stage.clear()

    def _unpacked(self, step: pb.Step) -> Batch:
        kind = step.WhichOneof("input")
        if kind == "ids" and self._stage.is_first:
            return Batch(step.chunks, np.array(step.ids.id, np.int64))
        if kind == "hidden" and not self._stage.is_first:
            return Batch(step.chunks, unpack_floats(step.hidden, self._stage.config.dim))
        raise NodeError(
            f"this stage takes {'token ids' if self._stage.is_first else 'hidden states'}, "
            f"not {kind or 'nothing'}"
        )

    def _computed(self, batch: Batch) -> Batch:
        """The batch with the hidden states that this stage makes of its rows."""
        chunks = [Chunk(c.sequence, c.start, c.rows, c.prefix_of) for c in batch.chunks]
        hidden = self._stage.embed(batch.rows) if self._stage.is_first else batch.rows
        return Batch(batch.chunks, self._stage.forward(chunks, hidden))

    def _asked_for(self, batch: Batch) -> list[pb.RowLogits]:
        """Logits and states of the rows that want them; the head is read only if one does."""
        wanted: list[_Wanted] = []
        first = 0
        for chunk in batch.chunks if self._stage.is_last else ():
            wanted += _wanted_of(chunk, first)
            first += chunk.rows
        logits = self._of(batch, [one for one in wanted if not one.chunk.state], self._stage.logits)
        states = self._of(batch, [one for one in wanted if one.chunk.state], self._stage.final_norm)
        return [
            _row_state(next(states), one) if one.chunk.state else _row_logits(next(logits), one)
            for one in wanted
        ]

    def _of(
        self, batch: Batch, wanted: Sequence["_Wanted"], compute: Callable[[Array], Array]
    ) -> Iterator[Array]:
        rows = [one.row for one in wanted]
        return iter(compute(batch.rows[rows])) if rows else iter(())

    def _pass_on(
        self,
        step: pb.Step,
        batch: Batch,
        rows: Sequence[pb.RowLogits],
        timing: pb.StageTiming,
        outlet: Outlet,
    ) -> None:
        if not batch.chunks:
            return
        timings = [*step.timings, timing]
        if self._stage.is_last:
            kept = {chunk.sequence for chunk in batch.chunks}
            rows = [row for row in rows if row.sequence in kept]
            outlet.send(pb.StepResult(step=step.step, rows=rows, timings=timings))
        else:
            hidden = pack(batch.rows)
            outlet.send(
                pb.Step(step=step.step, chunks=batch.chunks, hidden=hidden, timings=timings)
            )


def _new_positions(chunks: Sequence[pb.Chunk]) -> int:
    """That a step adds to the caches; who begins with another's text copies that."""
    return sum(chunk.rows + (chunk.start if chunk.prefix_of else 0) for chunk in chunks)


def _allowed(chunk: pb.Chunk) -> Sequence[bytes]:
    """What may follow each row of which logits are wanted; empty where everything may."""
    if not chunk.allowed:
        return [b""] * chunk.logit_rows
    if len(chunk.allowed) != chunk.logit_rows:
        raise NodeError(
            f"{len(chunk.allowed)} sets say which ids may follow {chunk.logit_rows} rows"
        )
    return chunk.allowed


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A row of a step of which something is asked for."""

    row: int
    chunk: pb.Chunk
    position: int
    allowed: bytes


def _wanted_of(chunk: pb.Chunk, first: int) -> list[_Wanted]:
    """Of a chunk whose first row is the step's row ``first``."""
    if chunk.logit_rows > chunk.rows:
        raise NodeError(f"logits of {chunk.logit_rows} of {chunk.rows} rows were asked for")
    if chunk.state and (chunk.allowed or chunk.candidates or chunk.log_sum):
        raise NodeError("states were asked for as if they were logits")
    rows = range(chunk.rows - chunk.logit_rows, chunk.rows)
    return [
        _Wanted(first + row, chunk, chunk.start + row, allowed)
        for row, allowed in zip(rows, _allowed(chunk), strict=True)
    ]


def _row_state(state: Array, wanted: _Wanted) -> pb.RowLogits:
    return pb.RowLogits(sequence=wanted.chunk.sequence, position=wanted.position, state=pack(state))


def _row_logits(logits: Array, wanted: _Wanted) -> pb.RowLogits:
    chunk, allowed = wanted.chunk, wanted.allowed
    log_sum = log_sum_exp(logits) if chunk.log_sum else 0.0
    if chunk.candidates == 0 and not allowed:
        ids, best = b"", logits
    else:
        count = chunk.candidates
        top = top_allowed(logits, count, allowed) if allowed else top_candidates(logits, count)
        ids, best = pack(top.ids), top.logits
    return pb.RowLogits(
        sequence=chunk.sequence,
        position=wanted.position,
        ids=ids,
        logits=pack(best),
        log_sum=log_sum,
    )
