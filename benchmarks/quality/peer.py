"""Weights through ggml's quantisers and back, in a process of its own.

Run by ``benchmarks.quality.peer_formats``; its Python needs ``libgguf``, which carries ggml's
reference quantisers for x86, and numpy. Works on files of numpy's. (Compared with ``gguf``, which
llama.cpp's authors publish: Q4_0, Q4_1, Q5_0 and Q8_0 are the same bytes without importance, and
all types here decode to the same bits. ``gguf`` encodes no more than those.)
"""

from typing import Any

import libgguf
import numpy as np

from benchmarks.json_process import serve


class Work:
    """What can be asked for; every result is a dictionary that JSON can hold."""

    def rounded(
        self, weights: str, kind: str, columns: int, importance: str | None, out: str
    ) -> dict[str, Any]:
        """Write what is left of a matrix, and tell how many bytes hold it.

        The quantiser is given rows of ``columns``: a matrix's own, or whole ones end to end.
        Shapes: ``weights (rows, n)``, ``importance (n,)``, ``out`` as ``weights``.
        """
        type_ = libgguf.GGMLQuantizationType[kind]
        given = np.load(weights)
        rows = given.reshape(-1, columns)
        each = None
        if importance is not None:
            each = np.tile(np.load(importance), columns // given.shape[1])
        blocks = libgguf.quantize_rows(rows, type_, each)
        np.save(out, libgguf.dequantize_rows(blocks, type_, columns).reshape(given.shape))
        return {"bytes": blocks.nbytes}


if __name__ == "__main__":
    serve(Work())
