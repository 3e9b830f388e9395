"""A session: one coordinator's steps on their way through this stage.

Whatever ends the session (the stream's end, a broken stream, a lost next hop, a shutdown) frees
the caches of all its sequences, here and, by the streams breaking one after another, downstream.

Steps and ends are handled in order. What must not wait for them is handled on arrival: that chunks
are not wanted any more, and that the coordinator rests.
"""

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import grpc
import numpy as np

from pi_cluster.cluster import settings
from pi_cluster.cluster.errors import (
    ClusterError,
    NodeError,
    NodeLost,
    SessionExpired,
    SessionYielded,
)
from pi_cluster.cluster.silence import Silence
from pi_cluster.cluster.wire.arrays import pack, unpack_floats
from pi_cluster.protos import pi_cluster_pb2 as pb
from pi_cluster.transformer.arithmetic import Array
from pi_cluster.transformer.sampling import top_candidates
from pi_cluster.transformer.stage import Chunk, Stage
from pi_cluster.worker.allocator import LARGE_BYTES, return_free_pages
from pi_cluster.worker.stage.outlet import Outlet
from pi_cluster.worker.stage.superseded import Batch, Superseded

_Item = tuple[int, pb.StepMessage]


class StageSession:
    """Receives on a thread of its own, computes on the caller's, so that the two overlap."""

    def __init__(
        self, stage: Stage, on_rest: Callable[[], None], asked_after: bool = False
    ) -> None:
        """``on_rest`` is called, on another thread, whenever the coordinator begins to rest.

        A session that is to be ``asked_after`` ends when nobody does so any more.
        """
        self._stage = stage
        self._on_rest = on_rest
        self._resting = False
        self._turn = threading.Lock()
        self._superseded = Superseded()
        self._inbox: queue.SimpleQueue[_Item | None] = queue.SimpleQueue()
        self._room = threading.Semaphore(settings.MAX_QUEUED_STEPS)
        self._failure: ClusterError | None = None
        self._silence = Silence() if asked_after else None
        self.steps = 0
        self.rows = 0

    def fail(self, error: ClusterError) -> None:
        """End the session with an error, from any thread; the first error stands."""
        self._failure = self._failure or error
        self._inbox.put(None)

    def heard(self) -> None:
        """Somebody has asked after it."""
        if self._silence:
            self._silence.heard()

    def give_way(self) -> bool:
        """End the session in favour of another if its coordinator rests; whether it did."""
        with self._turn:
            if self._resting:
                self.fail(
                    SessionYielded(
                        "another coordinator took the pipeline while this one rested: ask again, "
                        "it begins anew"
                    )
                )
            return self._resting

    def run(self, messages: Iterator[pb.StepMessage], outlet: Outlet) -> None:
        """Serve the stream to its end. Raises the ``ClusterError`` that ended it early."""
        reader = threading.Thread(target=self._receive, args=(messages, outlet), daemon=True)
        reader.start()
        try:
            while self._serve_next(outlet):
                pass
            outlet.close()
        except ClusterError as error:
            outlet.abort(error)
            raise
        except BaseException:
            outlet.abort(NodeError("a stage failed; its log tells why"))
            raise
        finally:
            self._stage.clear()
            self._failure = self._failure or NodeError("the session has ended")
            self._room.release()

    def _receive(self, messages: Iterator[pb.StepMessage], outlet: Outlet) -> None:
        try:
            for message in messages:
                self._accept(message, outlet)
                del message  # while the next one is awaited, it would keep megabytes
                if self._failure:
                    return
        except ClusterError as error:
            self.fail(error)
        except grpc.RpcError:
            self.fail(NodeLost("the hop before this one broke its stream"))
        finally:
            with self._turn:
                self._resting = False  # it ends of itself
            self._inbox.put(None)

    def _accept(self, message: pb.StepMessage, outlet: Outlet) -> None:
        match message.WhichOneof("message"):
            case "supersede":
                self._superseded.put(message.supersede)
                outlet.supersede(message.supersede)
            case "rest":
                with self._turn:
                    self._resting = True
                self._on_rest()
            case kind:
                if kind == "step":
                    with self._turn:
                        self._resting = False
                self._room.acquire()
                self._inbox.put((time.perf_counter_ns(), message))

    def _serve_next(self, outlet: Outlet) -> bool:
        """Handle one message; false at the end. Returning lets go of it before the next wait."""
        item = self._next()
        if item is not None:
            self._handle(item, outlet)
        return item is not None

    def _next(self) -> tuple[int, int, pb.StepMessage] | None:
        """When the stage began to wait, when the message came, and the message."""
        waiting_since = time.perf_counter_ns()
        item = self._awaited()
        if self._failure:
            raise self._failure
        if item is None:
            return None
        self._room.release()
        return waiting_since, *item

    def _awaited(self) -> _Item | None:
        """What comes next. Raises ``SessionExpired`` when nobody asks after the session any more.

        A coordinator that was unplugged or is asleep ends no stream, and would hold it forever.
        """
        while True:
            with contextlib.suppress(queue.Empty):
                return self._inbox.get(timeout=settings.ASK_EVERY_S)
            if self._silence and self._silence.look() > settings.SESSION_HELD_S:
                raise SessionExpired(
                    f"the nodes heard nothing of this session for {settings.SESSION_HELD_S:.0f} s "
                    "and ended it: ask again"
                )

    def _handle(self, item: tuple[int, int, pb.StepMessage], outlet: Outlet) -> None:
        waiting_since, arrived, message = item
        match message.WhichOneof("message"):
            case "step":
                self._run_step(message.step, waiting_since, arrived, outlet)
            case "end":
                for sequence in message.end.sequence:
                    self._stage.end(sequence)
                    self._superseded.end(sequence)
                outlet.end_sequences(message.end)
            case other:
                raise NodeError(f"a session cannot go on with {other or 'an empty message'}")

    def _run_step(self, step: pb.Step, waiting_since: int, arrived: int, outlet: Outlet) -> None:
        began = time.perf_counter_ns()
        self._superseded.reach(step.step)
        taken = self._unpacked(step)
        batch = self._superseded.wanted(step.step, taken)
        if taken.chunks and not batch.chunks:
            return
        batch = self._computed(batch)
        # Once more, since the head is the largest matrix: it need not serve what nobody wants.
        rows = self._logits(self._superseded.wanted(step.step, batch))
        timing = pb.StageTiming(
            idle_ns=max(0, arrived - waiting_since),
            queued_ns=max(0, began - arrived),
            compute_ns=time.perf_counter_ns() - began,
            began_ns=began,
        )
        self.steps += 1
        self.rows += len(batch.rows)
        size = batch.rows.nbytes
        self._pass_on(step, self._superseded.wanted(step.step, batch), rows, timing, outlet)
        if size >= LARGE_BYTES:
            return_free_pages()

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

    def _logits(self, batch: Batch) -> list[pb.RowLogits]:
        """Logits of the rows that are asked for; the head is read only if there are any."""
        wanted: list[tuple[int, pb.Chunk, int]] = []
        first = 0
        for chunk in batch.chunks if self._stage.is_last else ():
            if chunk.logit_rows > chunk.rows:
                raise NodeError(f"logits of {chunk.logit_rows} of {chunk.rows} rows were asked for")
            wanted += [
                (first + row, chunk, chunk.start + row)
                for row in range(chunk.rows - chunk.logit_rows, chunk.rows)
            ]
            first += chunk.rows
        if not wanted:
            return []
        logits = self._stage.logits(batch.rows[[row for row, _, _ in wanted]])
        return [
            _row_logits(values, chunk, position)
            for values, (_, chunk, position) in zip(logits, wanted, strict=True)
        ]

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


def _row_logits(logits: Array, chunk: pb.Chunk, position: int) -> pb.RowLogits:
    if chunk.candidates == 0:
        return pb.RowLogits(sequence=chunk.sequence, position=position, logits=pack(logits))
    best = top_candidates(logits, chunk.candidates)
    return pb.RowLogits(
        sequence=chunk.sequence,
        position=position,
        ids=pack(best.ids),
        logits=pack(best.logits),
    )
