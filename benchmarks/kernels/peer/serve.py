"""The peer's process: does one piece of work for each line of JSON that it reads, and times it.

Run by ``benchmarks.kernels.peer_process``; its Python needs ``llama-cpp-python`` and ``gguf``.
"""

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.json_process import serve
from benchmarks.kernels import layer_files as files
from benchmarks.kernels.peer.gguf_file import write_gguf
from benchmarks.kernels.peer.product import Ggml, Product
from benchmarks.kernels.peer.stage import LONG_POSITION, Array, Context, load

_WEIGHTS = {True: "repacked", False: "as in the file"}
_ATTENTION = {True: "flash attention", False: "no flash attention"}


def _normal(rows: int, columns: int) -> Array:
    return np.random.default_rng(rows).standard_normal((rows, columns), np.float32)


class Work:
    """What can be asked for; every result is a dictionary that JSON can hold."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._products: dict[str, Product] = {}
        self._short: dict[str, Context] = {}
        self._long: dict[str, Context] = {}

    def open_products(self, rows: int) -> dict[str, Any]:
        """Load w1 of the first layer in every way that ggml has."""
        packed = files.map_layer(self._folder, 0)["w1"]
        outputs, columns = files.MATRICES["w1"]
        weights, ggml = files.as_q4_0(packed, outputs, columns), Ggml()
        for name, kind in ggml.buffer_types().items():
            self._products[name] = Product(ggml, kind, weights, rows)
            self._products[name].set_input(_normal(rows, columns))
        return {"ways": list(self._products)}

    def product(self, way: str) -> dict[str, Any]:
        """Multiply once; ``sample`` is a corner of the result."""
        seconds = self._products[way].seconds()
        return {"seconds": seconds, "sample": self._products[way].output()[:4, :8].tolist()}

    def open_stage(self, long: bool = True) -> dict[str, Any]:
        """Write the GGUF and load it in every way that llama.cpp has, with a long text or not."""
        path = write_gguf(self._folder)
        for repack in (True, False):
            model = load(path, repack)
            for flash in (True, False):
                way = f"{_WEIGHTS[repack]}, {_ATTENTION[flash]}"
                self._short[way] = Context(model, flash, long=False)
                if long:
                    self._long[way] = Context(model, flash, long=True)
        return {"ways": list(self._short), "long_position": LONG_POSITION}

    def prefill(self, way: str, rows: int) -> dict[str, Any]:
        """Compute the first ``rows`` positions; ``sample`` is the last one's normalised output."""
        context = self._short[way]
        context.truncate(0)
        seconds = context.seconds(_normal(rows, files.DIM))
        return {"seconds": seconds, "sample": context.output(rows - 1).tolist()}

    def decode(self, way: str, position: int, steps: int) -> dict[str, Any]:
        """Compute one row at ``position``, a few times over."""
        context = self._long[way] if position == LONG_POSITION else self._short[way]
        if context.length < position:
            context.truncate(0)
            context.seconds(_normal(position, files.DIM))
        seconds = []
        for _ in range(steps):
            context.truncate(position)
            seconds.append(context.seconds(_normal(1, files.DIM)))
        return {"seconds": seconds}


def main() -> None:
    """Answer until the input ends."""
    folder, core = Path(sys.argv[1]), int(sys.argv[2])
    os.sched_setaffinity(0, {core})
    serve(Work(folder))


if __name__ == "__main__":
    main()
