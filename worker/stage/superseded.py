"""Chunks that are not wanted any more, and what is left of a step without them."""

import itertools
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pi_cluster.cluster.errors import NodeError
from pi_cluster.protos import pi_cluster_pb2 as pb

MAX_MARKS = 4_096  # far above the sequences of a session; without an end, memory would have none


@dataclass(frozen=True, slots=True)
class Batch:
    """Chunks with their rows, one after another: ids ``(rows,)`` or hidden states ``(rows, dim)``.

    Raises ``NodeError`` when the chunks do not make up the rows.
    """

    chunks: Sequence[pb.Chunk]
    rows: NDArray[Any]

    def __post_init__(self) -> None:
        named = sum(chunk.rows for chunk in self.chunks)
        if named != len(self.rows):
            raise NodeError(f"a step with chunks of {named} rows came with {len(self.rows)}")

    def only(self, wanted: Sequence[bool]) -> "Batch":
        """The chunks that are wanted, with their rows."""
        if all(wanted):
            return self
        stops = list(itertools.accumulate(chunk.rows for chunk in self.chunks))
        parts = np.split(self.rows, stops[:-1]) if stops else []
        # The first of them keeps dtype and width where nothing is left.
        kept = [self.rows[:0], *itertools.compress(parts, wanted)]
        return Batch(list(itertools.compress(self.chunks, wanted)), np.concatenate(kept))


class Superseded:
    """For each sequence, the step before which its chunks are not wanted.

    Marks are put by the thread that receives, overtaking the steps that wait, and asked for by
    the thread that computes.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._before: dict[int, int] = {}

    def put(self, mark: pb.Supersede) -> None:
        """Remember a mark; of two for one sequence the later stands. Raises ``NodeError``."""
        with self._lock:
            before = max(mark.before_step, self._before.get(mark.sequence, 0))
            if mark.sequence not in self._before and len(self._before) == MAX_MARKS:
                raise NodeError(f"more than {MAX_MARKS} sequences were superseded and not ended")
            self._before[mark.sequence] = before

    def end(self, sequence: int) -> None:
        """Forget the mark of a sequence that has ended."""
        with self._lock:
            self._before.pop(sequence, None)

    def reach(self, step: int) -> None:
        """Forget the marks that have done their work: steps count up, and this one has come."""
        with self._lock:
            self._before = {s: before for s, before in self._before.items() if before > step}

    def wanted(self, step: int, batch: Batch) -> Batch:
        """What is still wanted of a step's batch."""
        with self._lock:
            return batch.only([self._before.get(c.sequence, 0) <= step for c in batch.chunks])
