"""A stage that takes a Pi's time and computes nothing: what virtual workers serve."""

import contextlib
import time
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.virtual.pis import Board, StageWork, stage_work
from benchmarks.virtual.playback import PlayedSequence, Script
from pi_cluster.cluster.layer_range import LayerRange
from pi_cluster.cluster.store.manifest import Manifest
from pi_cluster.transformer.arithmetic import Array
from pi_cluster.transformer.config import ModelConfig
from pi_cluster.transformer.config_form import read_config
from pi_cluster.transformer.layer import Span
from pi_cluster.transformer.limits import Limits
from pi_cluster.transformer.rope import Angles
from pi_cluster.transformer.stage import Stage
from pi_cluster.worker.stage.loading import LoadedStage

# Where ids travel within the hidden states: float32 holds them exactly.
_ID, _NEXT = 0, 1
_UNLIKELY = -20.0


class VirtualArithmetic:
    """``transformer.stage.Arithmetic`` whose steps end when the board would have finished.

    Hidden states have their real size, since they cross a real network. What little is computed
    here happens within the step's time.
    """

    def __init__(
        self, config: ModelConfig, work: StageWork, board: Board, scripts: Sequence[Script]
    ) -> None:
        self._config = config
        self._work = work
        self._board = board
        self._scripts = scripts
        self._began = 0.0
        self._rows = 0
        self._beside_s = 0.0
        self.spent_s = 0.0
        """Processor time of this thread that went into playing back and waiting."""

    def embed(self, ids: NDArray[np.integer]) -> Array:
        """Rows that carry their ids."""
        hidden = np.zeros((len(ids), self._config.dim), np.float32)
        hidden[:, _ID] = ids
        return hidden

    def new_cache(self) -> PlayedSequence:
        """The ids of an empty sequence."""
        return PlayedSequence(self._scripts)

    def forward(
        self,
        hidden: Array,
        angles: Angles,  # noqa: ARG002
        spans: Sequence[Span],
        caches: Sequence[PlayedSequence],
    ) -> Array:
        """Write into each row what follows it, and wait until the layers would be done."""
        self._began = time.perf_counter()
        self._rows = len(hidden)
        with self._spending():
            self._beside_s = self._work.attention_s(self._board, spans)
            self._beside_s += self._board.slower_by_s(self._rows)
            hidden = hidden.copy()
            for span, cache in zip(spans, caches, strict=True):
                rows = hidden[span.start_row : span.stop_row]
                rows[:, _NEXT] = cache.extend(rows[:, _ID].astype(np.int64))
            self._wait(self._work.layers_s(self._board, self._rows))
        return hidden

    def final_norm(self, hidden: Array) -> Array:
        """Nobody embeds texts here."""
        return hidden

    def logits(self, hidden: Array) -> Array:
        """One candidate far above all others; the head's time counts as part of the step."""
        with self._spending():
            logits = np.full((len(hidden), self._config.vocab_size), _UNLIKELY, np.float32)
            logits[np.arange(len(hidden)), hidden[:, _NEXT].astype(np.int64)] = 0.0
            self._wait(self._work.with_head_s(self._board, self._rows, len(hidden)))
        return logits

    def _wait(self, step_s: float) -> None:
        """Sleep until the step has taken its time since it began.

        That includes attention, and what the board's processor takes longer for all the rest.
        """
        end = self._began + step_s + self._beside_s
        while (left := end - time.perf_counter()) > 0:
            time.sleep(left)

    @contextlib.contextmanager
    def _spending(self) -> Iterator[None]:
        began = time.thread_time()
        try:
            yield
        finally:
            self.spent_s += time.thread_time() - began


class VirtualLoader:
    """``worker.host.Load`` that reads no file: the manifest says all that matters."""

    def __init__(self, board: Board, scripts: Sequence[Script]) -> None:
        self._board = board
        self._scripts = scripts
        self._loaded: list[VirtualArithmetic] = []

    @property
    def spent_s(self) -> float:
        """Processor time that went into what stands in for arithmetic."""
        return sum(arithmetic.spent_s for arithmetic in self._loaded)

    def __call__(self, manifest: Manifest, layers: LayerRange, limits: Limits) -> LoadedStage:
        """A stage that takes this board's time."""
        config = read_config(manifest.config)
        work = stage_work(manifest, layers, limits)
        arithmetic = VirtualArithmetic(config, work, self._board, self._scripts)
        self._loaded.append(arithmetic)
        stage = Stage(config, range(layers.start, layers.stop), arithmetic, limits)
        return LoadedStage(stage, work.layer_bytes)
