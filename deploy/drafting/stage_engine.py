"""A draft model that computes on this machine, as one stage of all its layers."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from pi_cluster.cluster.store.store import Store
from pi_cluster.coordinator.drafting.draft_engine import DraftFailed
from pi_cluster.coordinator.planning.footprint import draft_limits
from pi_cluster.deploy.local_stage import local_stage
from pi_cluster.kernels import KernelsError
from pi_cluster.transformer.arithmetic import Array
from pi_cluster.transformer.config_form import read_config
from pi_cluster.transformer.errors import StepError
from pi_cluster.transformer.stage import Chunk, Stage


class StageEngine:
    """``DraftEngine`` by a stage that holds the whole of a small model.

    Beside its mapped weights it takes the caches of ``most_texts`` texts and one step, however
    long the texts grow. One thread computes at a time.
    """

    def __init__(self, stage: Stage, vocab_size: int) -> None:
        """``vocab_size`` is that of the model whose texts are guessed.

        Either head may be padded further than the other: no id beyond one of them is guessed.
        """
        self._stage = stage
        self._turn = threading.Lock()
        self._is_closed = False
        self.vocab_size = vocab_size
        limits = stage.limits
        self.most_texts = limits.max_sequences
        self.most_positions = None if stage.config.widest_window else limits.context

    def compute(self, sequence: int, start: int, ids: Sequence[int]) -> Array:
        """Logits behind the last of the ids, which stand from position ``start`` on.

        Shapes: ``(n,)`` -> ``(vocab_size,)``. What was held from there on is forgotten. Raises
        ``DraftFailed`` where they do not go on from what is held, pass a limit, or are unknown.
        """
        assert ids, "there is something to go on from"
        rows = self._stage.limits.max_step_rows
        with self._turn:
            try:
                for at in range(0, len(ids), rows):
                    hidden = self._step(sequence, start + at, ids[at : at + rows])
                known = self._stage.logits(hidden[-1:])[0, : self.vocab_size]
            except (StepError, KernelsError, MemoryError) as error:
                raise DraftFailed(f"the draft model cannot go on: {error}") from error
        if not np.isfinite(known).all():
            raise DraftFailed("the draft model computes what is no number: make its store anew")
        logits = np.full(self.vocab_size, -np.inf, np.float32)
        logits[: len(known)] = known
        return logits

    def can_go_back(self, sequence: int, length: int) -> bool:
        """Whether a text may go on at position ``length`` without being computed anew."""
        with self._turn:
            return self._stage.can_go_back(sequence, length)

    def end(self, sequence: int) -> None:
        """Free a text's caches."""
        with self._turn:
            self._stage.end(sequence)

    def close(self) -> None:
        """Compute no more; returns once nobody does, after a step at most."""
        self._is_closed = True
        with self._turn:
            self._stage.clear()

    def _step(self, sequence: int, start: int, ids: Sequence[int]) -> Array:
        if self._is_closed:
            raise DraftFailed("the draft model was closed")
        hidden = self._stage.embed(np.array(ids))
        return self._stage.forward([Chunk(sequence, start, len(ids))], hidden)


@contextmanager
def open_engine(store: Store, vocab_size: int, context: int, threads: int) -> Iterator[StageEngine]:
    """The engine of a store's model, for texts of up to ``context`` tokens.

    Raises as ``load_stage`` does.
    """
    limits = draft_limits(read_config(store.manifest.config), context)
    with local_stage(store, limits, threads) as stage:
        engine = StageEngine(stage, vocab_size)
        try:
            yield engine
        finally:
            engine.close()
