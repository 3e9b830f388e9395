"""The model on real workers, and all logits after each position of a text."""

import contextlib
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.workers import PLAIN, bring_up, rollout, worker
from pi_cluster.cluster.layer_range import LayerRange
from pi_cluster.cluster.store.store import Store
from pi_cluster.coordinator.planning.footprint import choose_limits
from pi_cluster.coordinator.records.pipeline_record import PipelineRecord
from pi_cluster.coordinator.session import Session
from pi_cluster.coordinator.steps import StepChunk
from pi_cluster.transformer.config_form import read_config

CUTS = (0, 10, 20, 30)
_ROWS = 32  # of a step: 6 MB of logits come back


@contextlib.contextmanager
def pipeline(store: Path, folder: Path) -> Iterator[PipelineRecord]:
    """Three workers with a third of the layers each, from ``with`` to its end."""
    opened = Store(store)
    limits = choose_limits(read_config(opened.manifest.config), None, texts=1)
    ranges = [LayerRange(*pair) for pair in pairwise(CUTS)]
    with contextlib.ExitStack() as stack:
        workers = [
            stack.enter_context(worker(folder / f"worker-{number}"))
            for number in range(len(ranges))
        ]
        addresses = [started.address for started in workers]
        yield bring_up(rollout(opened, limits, addresses, ranges), folder)


def write_logits(record: PipelineRecord, ids: Sequence[int], out: Path) -> None:
    """Those after each of the ids, as a file of numpy's. Shapes: ``(n,)`` -> ``(n, vocab)``."""
    vocab_size = record.model.vocab_size
    found = np.empty((len(ids), vocab_size), np.float32)
    with Session(record.addresses, record.epoch, vocab_size, PLAIN) as session:
        for start in range(0, len(ids), _ROWS):
            part = ids[start : start + _ROWS]
            session.submit([StepChunk(1, start, part, logit_rows=len(part))])
            for row in session.next_result().rows:
                _put(found[row.position], row.candidates.ids, row.candidates.logits)
    np.save(out, found)


def _put(row: NDArray[np.float32], ids: NDArray[np.int32], logits: NDArray[np.float32]) -> None:
    assert len(ids) == len(row), "all logits were asked for"
    row[ids] = logits
