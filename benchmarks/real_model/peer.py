"""llama.cpp on the same GGUF, in a process of its own: its logits, and how long it takes.

Run by ``benchmarks.kernels.peer_process``; its Python needs ``llama-cpp-python`` and ``gguf``. One
thread, keys and values in half precision. llama.cpp can run a model in four ways that matter here:
weights as in the file or repacked for the CPU, attention as matrix products or as its flash
attention. The time of a token includes the greedy pick of the next.
"""

import os
import sys
import time
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np
from numpy.typing import NDArray

from benchmarks.json_process import serve

_CONTEXT, _LARGEST_BATCH = 4096, 512
_WEIGHTS = {True: "repacked", False: "as in the file"}
_ATTENTION = {True: "flash attention", False: "no flash attention"}


class Work:
    """What can be asked for; every result is a dictionary that JSON can hold."""

    def __init__(self, gguf: Path) -> None:
        llama_cpp.llama_backend_init()
        self._models = {repack: _load(gguf, repack) for repack in _WEIGHTS}
        self._contexts = {
            f"{_WEIGHTS[repack]}, {_ATTENTION[flash]}": _Context(self._models[repack], flash)
            for repack in _WEIGHTS
            for flash in _ATTENTION
        }
        self._draw = np.random.default_rng(1)

    def ways(self) -> dict[str, Any]:
        """The names of what it has loaded."""
        return {"ways": list(self._contexts)}

    def tokenize(self, text: str) -> dict[str, Any]:
        """The text's ids, and nothing before or after it."""
        data = text.encode()
        found = (llama_cpp.llama_token * (len(data) + 8))()
        vocab = llama_cpp.llama_model_get_vocab(self._models[True])
        count = llama_cpp.llama_tokenize(vocab, data, len(data), found, len(found), False, False)
        return {"ids": list(found[:count])}

    def logits(self, way: str, ids: str, out: str) -> dict[str, Any]:
        """Write those after each of the ids of a file. Shapes: ``(n,)`` -> ``(n, vocab)``."""
        context, given = self._contexts[way], np.load(ids)
        found = np.empty((len(given), context.vocab_size), np.float32)
        context.clear()
        for start in range(0, len(given), _LARGEST_BATCH):
            part = given[start : start + _LARGEST_BATCH]
            context.append(part, all_logits=True)
            for row in range(len(part)):
                found[start + row] = context.row_logits(row)
        np.save(out, found)
        return {"rows": len(given)}

    def prefill(self, way: str, rows: int) -> dict[str, Any]:
        """Seconds from a new prompt to its first token."""
        context, prompt = self._contexts[way], self._random_ids(way, rows)
        context.clear()
        start = time.perf_counter()
        context.append(prompt)
        context.best()
        return {"seconds": time.perf_counter() - start}

    def decode(self, way: str, prompt: int, tokens: int) -> dict[str, Any]:
        """Seconds of each token after a new prompt."""
        context = self._contexts[way]
        context.clear()
        context.append(self._random_ids(way, prompt))
        token, seconds = context.best(), []
        for _ in range(tokens):
            start = time.perf_counter()
            context.append(np.array([token]))
            token = context.best()
            seconds.append(time.perf_counter() - start)
        return {"seconds": seconds}

    def _random_ids(self, way: str, count: int) -> NDArray[np.int64]:
        return self._draw.integers(0, self._contexts[way].vocab_size, count)


class _Context:
    """One text."""

    def __init__(self, model: Any, flash: bool) -> None:
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = _CONTEXT
        params.n_batch = params.n_ubatch = _LARGEST_BATCH
        params.n_threads = params.n_threads_batch = 1
        params.flash_attn_type = int(flash)
        self._context = llama_cpp.llama_init_from_model(model, params)
        assert self._context, "llama.cpp gives no context"
        self._memory = llama_cpp.llama_get_memory(self._context)
        self._batch = llama_cpp.llama_batch_init(_LARGEST_BATCH, 0, 1)
        self._length = 0
        vocab = llama_cpp.llama_model_get_vocab(model)
        self.vocab_size: int = llama_cpp.llama_vocab_n_tokens(vocab)

    def clear(self) -> None:
        """Begin anew."""
        llama_cpp.llama_memory_clear(self._memory, True)
        self._length = 0

    def append(self, ids: NDArray[np.integer], all_logits: bool = False) -> None:
        """Go on with ids, at most ``_LARGEST_BATCH``; logits of the last, or of all."""
        batch, rows = self._batch, len(ids)
        batch.n_tokens = rows
        for row, token in enumerate(ids.tolist()):
            batch.token[row] = token
            batch.pos[row] = self._length + row
            batch.n_seq_id[row] = 1
            batch.seq_id[row][0] = 0
            batch.logits[row] = all_logits or row == rows - 1
        status = llama_cpp.llama_decode(self._context, batch)
        llama_cpp.llama_synchronize(self._context)
        assert status == 0, f"llama.cpp failed with status {status}"
        self._length += rows

    def row_logits(self, row: int) -> NDArray[np.float32]:
        """After a row of the last batch; -1 is the last. Shapes: ``(vocab_size,)``."""
        found = llama_cpp.llama_get_logits_ith(self._context, row)
        return np.ctypeslib.as_array(found, (self.vocab_size,))

    def best(self) -> int:
        """The greedy pick after all of the text."""
        return int(self.row_logits(-1).argmax())


def _load(path: Path, repack: bool) -> Any:
    params = llama_cpp.llama_model_default_params()
    params.n_gpu_layers = 0
    params.use_extra_bufts = repack
    model = llama_cpp.llama_model_load_from_file(str(path).encode(), params)
    assert model, f"llama.cpp cannot load {path}"
    return model


def main() -> None:
    """Answer until the input ends."""
    core, gguf = int(sys.argv[2]), Path(sys.argv[3])
    os.sched_setaffinity(0, {core})
    serve(Work(gguf))


if __name__ == "__main__":
    main()
