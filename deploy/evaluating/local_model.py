"""A store's whole model, computed on this machine by the kernels that workers use."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from pi_cluster.cluster.store.store import Store
from pi_cluster.coordinator.planning.footprint import choose_limits
from pi_cluster.deploy.local_stage import local_stage
from pi_cluster.transformer.arithmetic import Array
from pi_cluster.transformer.config_form import read_config
from pi_cluster.transformer.stage import Chunk, Stage

_SEQUENCE = 1


class LocalModel:
    """``coordinator.evaluating.divergence.Reference`` by one stage that holds all layers.

    Beside its mapped weights it takes the caches of one text and one step. One thread computes at a
    time; who comes with other rows waits for a step, and not for a text.
    """

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._turn = threading.Lock()

    def states(self, ids: Sequence[int]) -> Array:
        """Hidden states behind the last layer. Shapes: ``(n,)`` -> ``(n, dim)``."""
        rows = self._stage.limits.max_step_rows
        steps = [self._step(start, ids[start : start + rows]) for start in range(0, len(ids), rows)]
        return np.concatenate(steps)

    def logits(self, states: Array) -> Array:
        """Final norm and head. Shapes: ``(rows, dim)`` -> ``(rows, vocab_size)``."""
        with self._turn:
            return self._stage.logits(states)

    def _step(self, start: int, ids: Sequence[int]) -> Array:
        with self._turn:
            hidden = self._stage.embed(np.array(ids))
            return self._stage.forward([Chunk(_SEQUENCE, start, len(ids))], hidden)


@contextmanager
def local_model(store: Store, context: int) -> Iterator[LocalModel]:
    """The model of a store, for texts of up to ``context`` tokens; see ``load_stage`` for errors.

    Nobody may be computing with it when the block ends.
    """
    limits = choose_limits(read_config(store.manifest.config), context, texts=1)
    with local_stage(store, limits) as stage:
        yield LocalModel(stage)
