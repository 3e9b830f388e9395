"""llama.cpp on the same layers: hidden states in, one thread, keys and values in half precision.

llama.cpp can run a model in four ways that matter here: weights as in the file or repacked for
the CPU, attention as matrix products or as its flash attention. Whoever compares takes the
fastest for each kind of work.
"""

import ctypes
import time
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np
from numpy.typing import NDArray

from benchmarks.kernels.layer_files import DIM

Array = NDArray[np.float32]

_PIECE, _PIECES = 125, 32  # positions that a long text is put together from
LONG_POSITION = _PIECE * _PIECES
_SHORT_CONTEXT, _LONG_CONTEXT, _LARGEST_BATCH = 1024, 4096, 512


def load(path: Path, repack: bool) -> Any:
    """A handle of the model, its weights repacked for this CPU or mapped as they are."""
    llama_cpp.llama_backend_init()
    params = llama_cpp.llama_model_default_params()
    params.n_gpu_layers = 0
    params.use_extra_bufts = repack
    model = llama_cpp.llama_model_load_from_file(str(path).encode(), params)
    assert model, f"llama.cpp cannot load {path}"
    return model


class Context:
    """One text over a model. ``long`` is one whose first 4000 positions are there already."""

    def __init__(self, model: Any, flash: bool, long: bool) -> None:
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = _LONG_CONTEXT if long else _SHORT_CONTEXT
        params.n_batch = params.n_ubatch = _LARGEST_BATCH
        params.n_threads = params.n_threads_batch = 1
        params.flash_attn_type = int(flash)
        params.embeddings = True
        params.pooling_type = llama_cpp.LLAMA_POOLING_TYPE_NONE
        params.n_seq_max = _PIECES if long else 1
        params.kv_unified = True
        self._context = llama_cpp.llama_init_from_model(model, params)
        assert self._context, "llama.cpp gives no context"
        self._memory = llama_cpp.llama_get_memory(self._context)
        self._batch = llama_cpp.llama_batch_init(_LARGEST_BATCH, DIM, 1)
        self.length = 0
        if long:
            self._fill()

    def seconds(self, hidden: Array) -> float:
        """Append rows ``(rows, DIM)`` and compute the outputs of all, as a stage must."""
        rows, batch = len(hidden), self._batch
        ctypes.memmove(batch.embd, hidden.ctypes.data, hidden.nbytes)
        batch.n_tokens = rows
        for row in range(rows):
            batch.pos[row] = self.length + row
            batch.n_seq_id[row] = 1
            batch.seq_id[row][0] = 0
            batch.logits[row] = 1
        start = time.perf_counter()
        status = llama_cpp.llama_decode(self._context, batch)
        llama_cpp.llama_synchronize(self._context)
        taken = time.perf_counter() - start
        assert status == 0, f"llama.cpp failed with status {status}"
        self.length += rows
        return taken

    def output(self, row: int) -> Array:
        """A row's hidden state after the last step, normalised. Shapes: -> ``(DIM,)``."""
        found = llama_cpp.llama_get_embeddings_ith(self._context, row)
        return np.ctypeslib.as_array(found, (DIM,)).copy()

    def truncate(self, length: int) -> None:
        """Forget the positions from ``length`` on."""
        llama_cpp.llama_memory_seq_rm(self._memory, 0, length, -1)
        self.length = length

    def _fill(self) -> None:
        """Put copies of a short piece one after another: its keys are turned to their place.

        Reading 4000 positions in the plain way would take minutes and change no step's time.
        """
        rows = np.random.default_rng(1).standard_normal((_PIECE, DIM)).astype(np.float32)
        self.seconds(rows)
        size = llama_cpp.llama_state_seq_get_size(self._context, 0)
        state = (ctypes.c_uint8 * size)()
        assert llama_cpp.llama_state_seq_get_data(self._context, state, size, 0) == size
        for piece in range(1, _PIECES):
            assert llama_cpp.llama_state_seq_set_data(self._context, state, size, piece) == size
            place = piece * _PIECE
            llama_cpp.llama_memory_seq_add(self._memory, piece, 0, -1, place)
            llama_cpp.llama_memory_seq_cp(self._memory, piece, 0, place, place + _PIECE)
        self.length = LONG_POSITION
        assert llama_cpp.llama_memory_seq_pos_max(self._memory, 0) == LONG_POSITION - 1
