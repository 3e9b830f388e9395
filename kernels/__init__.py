"""The arithmetic of ``transformer`` in C: weights in 4 bits at the speed of memory.

Results are the same to the bit for every variant of the kernels, any number of threads and any
batch; ``src/variant.h`` says how. One engine serves all stages of a process::

    with Engine() as engine:
        weight = engine.pack(weights, "q4")
        y = engine.linear(x, weight)
"""

from pi_cluster.kernels.cache import KVCache
from pi_cluster.kernels.cores import usable_cores
from pi_cluster.kernels.engine import MAX_ROWS, Engine, rows_of, unpack, variants
from pi_cluster.kernels.errors import KernelsError, ShapeError
from pi_cluster.kernels.ggml_blocks import GGML_FORMATS, packed_from_ggml
from pi_cluster.kernels.library import compiled, is_installed
from pi_cluster.kernels.matrix import (
    BLOCK_COLUMNS,
    FORMATS,
    GROUP_ROWS,
    PACKABLE_FORMATS,
    SEARCHED_FORMATS,
    Matrix,
    packed_bytes,
)
from pi_cluster.kernels.packing import NumpyPacker, Packer, packer
from pi_cluster.kernels.shape import MAX_HEAD_DIM, LayerShape, usual_query_scale
from pi_cluster.kernels.stage import Angles, Layers, LayerWeights, Part
from pi_cluster.kernels.tiles import KEY_TILE, whole_tiles

__all__ = [
    "BLOCK_COLUMNS",
    "FORMATS",
    "GGML_FORMATS",
    "GROUP_ROWS",
    "KEY_TILE",
    "MAX_HEAD_DIM",
    "MAX_ROWS",
    "PACKABLE_FORMATS",
    "SEARCHED_FORMATS",
    "Angles",
    "Engine",
    "KVCache",
    "KernelsError",
    "LayerShape",
    "LayerWeights",
    "Layers",
    "Matrix",
    "NumpyPacker",
    "Packer",
    "Part",
    "ShapeError",
    "compiled",
    "is_installed",
    "packed_bytes",
    "packed_from_ggml",
    "packer",
    "rows_of",
    "unpack",
    "usable_cores",
    "usual_query_scale",
    "variants",
    "whole_tiles",
]
