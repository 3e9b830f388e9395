"""Random weights in ggml's own blocks."""

import numpy as np
from numpy.typing import NDArray

HALVES = {"Q4_0": 1, "IQ4_NL": 1, "Q8_0": 1, "Q5_0": 1, "Q4_1": 2, "Q4_K": 2}
"""Scales and minima in half precision that a block starts with."""
BLOCK_COLUMNS = {name: 256 if name == "Q4_K" else 32 for name in HALVES}
BLOCK_BYTES = {"Q4_0": 18, "IQ4_NL": 18, "Q8_0": 34, "Q5_0": 22, "Q4_1": 20, "Q4_K": 144}
_USUAL = {"Q4_0": 0.02, "IQ4_NL": 0.001, "Q8_0": 0.001, "Q5_0": 0.01} | {
    **{"Q4_1": 0.02, "Q4_K": 0.0003},
}


def random_blocks(seed: int, ggml_type: str, rows: int, columns: int) -> NDArray[np.uint8]:
    """Any bits, with scales of a usual size. Shapes: -> ``(rows, bytes of a row)``."""
    generator = np.random.default_rng(seed)
    row_bytes = columns // BLOCK_COLUMNS[ggml_type] * BLOCK_BYTES[ggml_type]
    blocks = generator.integers(0, 256, (rows, row_bytes), np.uint8)
    halves = halves_of(blocks, ggml_type)
    halves[...] = generator.uniform(-1, 1, halves.shape) * _USUAL[ggml_type]
    return blocks


def halves_of(blocks: NDArray[np.uint8], ggml_type: str) -> NDArray[np.float16]:
    """A view of them. Shapes: ``(rows, bytes of a row)`` -> ``(rows, blocks, HALVES)``."""
    field = ("<f2", (HALVES[ggml_type],))
    layout = np.dtype({"names": ["h"], "formats": [field], "itemsize": BLOCK_BYTES[ggml_type]})
    halves: NDArray[np.float16] = blocks.view(layout)["h"]
    return halves
