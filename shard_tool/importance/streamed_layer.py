"""A layer computed from its checkpoint, with no matrix of it in memory, watching what comes in."""

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from pi_cluster.kernels import unpack, whole_tiles
from pi_cluster.shard_tool.importance.importance import Array
from pi_cluster.shard_tool.sources.block_tensor import BlockTensor
from pi_cluster.shard_tool.sources.checkpoint import Checkpoint
from pi_cluster.shard_tool.sources.names import layer_tensor
from pi_cluster.shard_tool.sources.source_tensor import SourceTensor
from pi_cluster.transformer.cache import RollingKVCache
from pi_cluster.transformer.layer import Layer, Span
from pi_cluster.transformer.rope import Angles, rope_angles
from pi_cluster.transformer.shapes import layer_shapes

OnBytes = Callable[[int], None]
"""Told how many more bytes of weights, in float32, have been multiplied."""


class SecondMoments:
    """The means of squares of rows, by columns, of several inputs by name."""

    def __init__(self) -> None:
        self._sums: dict[str, np.ndarray] = {}
        self._rows: dict[str, int] = {}

    def add(self, name: str, x: Array) -> None:
        """Take in some rows. Shapes: ``x (rows, columns)``."""
        squares = np.einsum("rc,rc->c", x, x, dtype=np.float64)
        self._sums[name] = self._sums.get(name, 0.0) + squares
        self._rows[name] = self._rows.get(name, 0) + len(x)

    def means(self) -> Mapping[str, Array]:
        """Of each input. Shapes: ``(columns,)``."""
        with np.errstate(over="ignore"):
            return {n: (s / self._rows[n]).astype(np.float32) for n, s in self._sums.items()}


def float_blocks(tensor: SourceTensor | BlockTensor) -> Iterator[Array]:
    """A tensor in order as float32 blocks of whole rows, quantised or not.

    Raises ``CheckpointError``; ``KernelsError`` for a quantised one where there are no kernels.
    """
    if isinstance(tensor, SourceTensor):
        return tensor.row_blocks()
    return map(unpack, tensor.matrices())


class StreamedLayer:
    """One layer of a checkpoint, by the arithmetic of ``transformer.layer``.

    Each call reads every matrix once, a block of some MB at a time.
    """

    def __init__(self, checkpoint: Checkpoint, number: int, on_bytes: OnBytes) -> None:
        config = checkpoint.config.layers[number]
        shapes = layer_shapes(config, checkpoint.config.dim)
        self._tensors = {n: checkpoint.tensors[layer_tensor(number, n)] for n in shapes}
        self._tables = checkpoint.config.rope_tables
        self._config = config
        self._on_bytes = on_bytes
        vectors = {
            name: np.concatenate(list(float_blocks(self._tensors[name])))
            for name, shape in shapes.items()
            if len(shape) == 1
        }
        self._layer = Layer(config, checkpoint.config.norm_eps, vectors, self._multiply)
        self.inputs = SecondMoments()
        """Of each matrix by its name."""

    def forward(self, hidden: Array) -> Array:
        """The layer on a whole text. Shapes: ``(rows, dim)`` -> the same."""
        rows, config = len(hidden), self._config
        cache = RollingKVCache(
            config.n_kv_heads, config.head_dim, whole_tiles(rows), window=config.window
        )
        return self._layer.forward(hidden, self._angles(rows), [Span(0, rows, 0)], [cache])

    def _angles(self, rows: int) -> Angles:
        index = self._config.rope_table
        if index is None:
            return {}
        table = self._tables[index]
        positions = np.arange(rows)
        return {index: rope_angles(positions, table.rotary_dim, table.theta, table.factors)}

    def _multiply(self, x: Array, name: str) -> Array:
        """In one product of matrices a block: no other rows are to get the same last bits."""
        self.inputs.add(name, x)
        tensor = self._tensors[name]
        out = np.empty((len(x), tensor.shape[0]), np.float32)
        start = 0
        for block in float_blocks(tensor):
            out[:, start : start + len(block)] = x @ block.T
            start += len(block)
            self._on_bytes(block.nbytes)
        return out
