"""A session spoken message by message, for what no coordinator of ours sends, or not so."""

import itertools
import queue
import secrets
from collections.abc import Sequence
from typing import Self

import grpc
import numpy as np

from pi_cluster.cluster.errors import NodeLost
from pi_cluster.cluster.wire.client import NodeClient
from pi_cluster.cluster.wire.failures import restored_errors
from pi_cluster.cluster.wire.options import WIRE_VERSION
from pi_cluster.coordinator.stage_address import StageAddress
from pi_cluster.protos import pi_cluster_pb2 as pb
from tests.support.worker_servers import EPOCH, PLAIN

Logits = dict[tuple[int, int], np.ndarray]
"""By sequence and position."""


class RawSession:
    """Both ends of a pipeline; ``inlet`` is the call that ends with the session."""

    def __init__(
        self,
        stages: Sequence[StageAddress],
        wire_version: int = WIRE_VERSION,
        asked_after: bool = False,
        held_ms: int = 0,
        epoch: int = EPOCH,
    ) -> None:
        name = secrets.token_hex(4)
        self._numbers = itertools.count(1)
        self._outbox: queue.SimpleQueue[pb.StepMessage | None] = queue.SimpleQueue()
        self._clients = [NodeClient(s.peer, PLAIN) for s in (stages[-1], stages[0])]
        last, first = self._clients
        self._results = last.collect_results(
            pb.CollectResultsRequest(wire_version=WIRE_VERSION, epoch=epoch, session=name)
        )
        assert next(self._results).ready
        header = pb.SessionHeader(
            wire_version=wire_version,
            epoch=epoch,
            session=name,
            coordinator=name,
            asked_after=asked_after,
            held_ms=held_ms,
        )
        self._outbox.put(pb.StepMessage(header=header))
        self.inlet = first.run_steps(iter(self._outbox.get, None))
        self.inlet.add_done_callback(self._ended)

    def _ended(self, call: grpc.Call) -> None:
        # Whom the first stage refuses would wait for results forever.
        if call.code() is not grpc.StatusCode.OK:
            self._results.cancel()

    def send(self, *chunks: tuple[int, int, Sequence[int]]) -> int:
        """Send a step of chunks ``(sequence, start, ids)`` that asks for all logits."""
        number = next(self._numbers)
        message = pb.Step(step=number, ids=pb.TokenIds(id=[i for *_, ids in chunks for i in ids]))
        for sequence, start, ids in chunks:
            message.chunks.add(sequence=sequence, start=start, rows=len(ids), logit_rows=len(ids))
        self._outbox.put(pb.StepMessage(step=message))
        return number

    def receive(self) -> pb.StepResult:
        """The next step that has passed all stages. Raises ``NodeLost`` when no more come."""
        try:
            result: pb.StepResult = next(self._results)
        except (StopIteration, grpc.RpcError):
            # A stream that broke may look to the last stage as if it had ended; ask the inlet why.
            raise NodeLost("the results have ended") from None
        return result

    def step(self, *chunks: tuple[int, int, Sequence[int]]) -> Logits:
        """Send a step and wait for its logits."""
        self.send(*chunks)
        return logits_of(self.receive())

    def fork(self, sequence: int, start: int, ids: Sequence[int], prefix_of: int) -> Logits:
        """Begin a sequence as another's prefix, and wait for its logits."""
        rows = len(ids)
        chunk = pb.Chunk(
            sequence=sequence, start=start, rows=rows, logit_rows=rows, prefix_of=prefix_of
        )
        self.send_chunk(chunk, ids)
        return logits_of(self.receive())

    def send_chunk(self, chunk: pb.Chunk, ids: Sequence[int]) -> None:
        """Send a step of one chunk."""
        step = pb.Step(step=next(self._numbers), chunks=[chunk], ids=pb.TokenIds(id=ids))
        self._outbox.put(pb.StepMessage(step=step))

    def end(self, sequence: int) -> None:
        """End a sequence."""
        self._outbox.put(pb.StepMessage(end=pb.EndSequences(sequence=[sequence])))

    def supersede(self, sequence: int, before_step: int) -> None:
        """Say that a sequence's chunks in earlier steps are not wanted."""
        mark = pb.Supersede(sequence=sequence, before_step=before_step)
        self._outbox.put(pb.StepMessage(supersede=mark))

    def rest(self) -> None:
        """Say that nothing is in flight."""
        self._outbox.put(pb.StepMessage(rest=pb.Rest()))

    def failure(self) -> None:
        """Wait for the session to end; raises what ended it early."""
        with restored_errors("node"):
            self.inlet.result(timeout=10)

    def end_steps(self) -> None:
        """Send no more, and wait for nothing."""
        self._outbox.put(None)

    def stop_collecting(self) -> None:
        """Take no more results, as a coordinator that is gone."""
        self._results.cancel()

    def close(self) -> None:
        """End the session and wait until all stages have freed what they held."""
        self._outbox.put(None)
        self.inlet.result(timeout=10)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._outbox.put(None)
        for client in self._clients:
            client.close()


def logits_of(result: pb.StepResult) -> Logits:
    """A result's logits by sequence and position."""
    return {(r.sequence, r.position): np.frombuffer(r.logits, "<f4") for r in result.rows}
