"""Random q4 layers of Mistral 7B's shape in files, for both sides: kernels and peer.

One file a layer holds the packed matrices one after another, in the order of ``MATRICES`` and as
``kernels/src/formats.h`` describes. Norm gains are ones and not stored. Needs numpy alone, since
the peer's Python may have nothing of this project installed.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]

N_LAYERS = 8
DIM, HIDDEN_DIM = 4096, 14336
N_HEADS, N_KV_HEADS, HEAD_DIM = 32, 8, 128
NORM_EPS, ROPE_THETA = 1e-5, 1e6

MATRICES = {
    "wq": (N_HEADS * HEAD_DIM, DIM),
    "wk": (N_KV_HEADS * HEAD_DIM, DIM),
    "wv": (N_KV_HEADS * HEAD_DIM, DIM),
    "wo": (DIM, N_HEADS * HEAD_DIM),
    "w1": (HIDDEN_DIM, DIM),
    "w2": (DIM, HIDDEN_DIM),
    "w3": (HIDDEN_DIM, DIM),
}
"""Rows and columns of each matrix of a layer."""

_GROUP_ROWS, _BLOCK_COLUMNS, _BLOCK_BYTES, _SCALE_BYTES = 16, 32, 288, 32
_QUANT_DEVIATION = 4.6  # of a uniform -8..7


def q4_bytes(rows: int, columns: int) -> int:
    """Bytes of a packed matrix whose sides fit the blocks."""
    return rows // _GROUP_ROWS * (columns // _BLOCK_COLUMNS) * _BLOCK_BYTES


def random_q4(rows: int, columns: int, seed: int) -> Bytes:
    """Random quants, with scales that keep the size of what is multiplied."""
    generator = np.random.default_rng(seed)
    data = np.frombuffer(bytearray(generator.bytes(q4_bytes(rows, columns))), np.uint8)
    blocks = data.reshape(-1, _BLOCK_BYTES)
    usual = 1 / (_QUANT_DEVIATION * columns**0.5)
    scales = generator.uniform(0.5 * usual, 1.5 * usual, (len(blocks), _GROUP_ROWS))
    blocks[:, :_SCALE_BYTES] = scales.astype(np.float16).view(np.uint8)
    return data


def write_layers(folder: Path) -> None:
    """Write the files of all layers: the same bytes each time."""
    for layer in range(N_LAYERS):
        with _path(folder, layer).open("wb") as file:
            for number, sides in enumerate(MATRICES.values()):
                file.write(random_q4(*sides, seed=100 * layer + number).tobytes())


def map_layer(folder: Path, layer: int) -> dict[str, Bytes]:
    """The matrices of a layer by name, as views of its mapped file."""
    mapped = np.asarray(np.memmap(_path(folder, layer), np.uint8, "r"))
    ends = np.cumsum([q4_bytes(*sides) for sides in MATRICES.values()])
    return dict(zip(MATRICES, np.split(mapped, ends[:-1]), strict=True))


def as_q4_0(packed: Bytes, rows: int, columns: int) -> Bytes:
    """The same values as rows of ggml's Q4_0 blocks. Shapes: -> ``(rows, columns / 32 * 18)``.

    A block of ours holds 16 scales, then ``quant[j][row][c]``, whose byte has column ``4 j + c``
    in its low and ``16 + 4 j + c`` in its high nibble: byte ``4 j + c`` of that row's Q4_0 block.
    """
    groups, blocks = rows // _GROUP_ROWS, columns // _BLOCK_COLUMNS
    group_blocks = packed.reshape(groups, blocks, _BLOCK_BYTES)
    scales = group_blocks[:, :, :_SCALE_BYTES].reshape(groups, blocks, _GROUP_ROWS, 2)
    quants = group_blocks[:, :, _SCALE_BYTES:].reshape(groups, blocks, 4, _GROUP_ROWS, 4)
    out = np.empty((groups, _GROUP_ROWS, blocks, 18), np.uint8)
    out[..., :2] = scales.transpose(0, 2, 1, 3)
    out[..., 2:] = quants.transpose(0, 3, 1, 2, 4).reshape(groups, _GROUP_ROWS, blocks, 16)
    return out.reshape(rows, blocks * 18)


def _path(folder: Path, layer: int) -> Path:
    return folder / f"layer_{layer}.q4"
