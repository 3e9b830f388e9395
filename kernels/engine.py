"""The operations: numpy arrays in and out, everything checked before C sees it."""

import contextlib
import ctypes
import weakref
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from pi_cluster.kernels.cache import KVCache
from pi_cluster.kernels.cores import usable_cores
from pi_cluster.kernels.errors import KernelsError, ShapeError
from pi_cluster.kernels.library import RotationStruct, SpanStruct, compiled
from pi_cluster.kernels.matrix import (
    BLOCK_COLUMNS,
    Matrix,
    importance_within_blocks,
    packable,
    packed_bytes,
)
from pi_cluster.kernels.shape import LayerShape

Array = NDArray[np.float32]

MAX_ROWS = 4096
"""Most rows in a call."""

_MAX_THREADS = 256
_BLOCK = np.dtype(
    [("scale", "<f4"), ("sum", "<f4"), ("bias", "<i4"), ("quant", "i1", BLOCK_COLUMNS)]
)


def as_rows(name: str, x: NDArray[Any], columns: int | None = None) -> Array:
    """Return ``x`` as contiguous float32 rows; ``ShapeError`` if it is not ``(rows, columns)``."""
    if x.dtype != np.float32 or x.ndim != 2 or columns not in (None, x.shape[1]):
        raise ShapeError(f"{name} is {x.dtype} {x.shape}, not float32 (rows, {columns or 'n'})")
    if not 0 < len(x) <= MAX_ROWS or x.shape[1] == 0:
        raise ShapeError(f"{name} is {x.shape}; a call takes 1 to {MAX_ROWS} rows")
    return np.ascontiguousarray(x)


def as_vector(name: str, x: NDArray[Any], length: int) -> Array:
    """Return ``x`` as contiguous float32; ``ShapeError`` if it is not ``(length,)``."""
    if x.dtype != np.float32 or x.shape != (length,):
        raise ShapeError(f"{name} is {x.dtype} {x.shape}, not float32 ({length},)")
    return np.ascontiguousarray(x)


class Engine:
    """A variant of the kernels and the threads that run it.

    Results are the same to the bit for every variant and any number of threads. Without a name
    the fastest variant that this CPU has is taken; without a number, a thread for each core this
    process may use. Raises ``KernelsError`` for a variant that this machine does not have.
    """

    def __init__(self, variant: str | None = None, threads: int | None = None) -> None:
        self._library = compiled()
        threads = threads if threads is not None else usable_cores()
        if not 0 < threads <= _MAX_THREADS:
            raise KernelsError(f"{threads} threads; there can be 1 to {_MAX_THREADS}")
        known = variants()
        if variant is not None and variant not in known:
            raise KernelsError(
                f"this machine has no kernels {variant!r}; it has {', '.join(known)}"
            )
        handle = self._library.kernels_open((variant or "").encode(), threads)
        if not handle:
            raise KernelsError(f"the system does not give {threads} threads: ask for fewer")
        self.threads = threads
        self.variant: str = self._library.kernels_name(handle).decode()
        self._handle = handle
        # Also runs when the interpreter ends, so that no thread is left behind.
        self._finalizer = weakref.finalize(self, self._library.kernels_close, handle)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the threads. No operation may be running, and none may follow."""
        self._finalizer()

    @property
    def handle(self) -> int:
        """What C calls the engine; ``KernelsError`` once it is closed."""
        if not self._finalizer.alive:
            raise KernelsError("these kernels are closed")
        return int(self._handle)

    def pack(self, weights: NDArray[Any], format: str, importance: Array | None = None) -> Matrix:
        """Quantise or convert a matrix.

        Shapes: ``weights (rows, columns)``, float32 or float16, ``importance (columns,)``, finite
        and not negative.

        ``q4`` and ``q4n`` take for each block of 32 the scale of least squared error among those
        they try. With ``importance``, the square of an error counts as many times as that of its
        column says; a block without any is packed as if none were given. All other formats leave
        it out of account: ``q8`` has one scale that spans its block.
        Raises ``ShapeError`` for a shape or a value that the format cannot hold.
        """
        source = packable(weights, format)
        if isinstance(source, Matrix):
            return source
        rows, columns = source.shape
        size = packed_bytes(format, rows, columns)
        packed = Matrix(format, rows, columns, np.empty(size, np.uint8))
        struct = packed.struct()
        parts = importance_within_blocks(importance, columns)
        self._library.kernels_pack(
            *(self.handle, source.ctypes.data),
            *(None if parts is None else parts.ctypes.data, ctypes.byref(struct)),
        )
        return packed

    def linear(self, x: Array, weight: Matrix) -> Array:
        """Multiply each row by ``weight``. Shapes: ``x (rows, columns)`` -> ``(rows, w.rows)``."""
        x = as_rows("x", x, weight.columns)
        out = np.empty((len(x), weight.rows), np.float32)
        blocks = np.empty(len(x) * weight.columns // BLOCK_COLUMNS, _BLOCK)
        struct = weight.struct()
        self._library.kernels_linear(
            *(self.handle, ctypes.byref(struct), x.ctypes.data, len(x)),
            *(blocks.ctypes.data, out.ctypes.data),
        )
        return out

    def fine_linear(self, x: Array, weight: Matrix) -> Array:
        """As :meth:`linear`, but a quantised ``weight`` also multiplies what rounding ``x`` left.

        The products of int8 round activations to 8 bits; with the remainder as a row of its own,
        rounded in turn, they have about 15. One row then takes as long as two: of weights that come
        from memory hardly longer.
        """
        if not weight.is_quantised:
            return self.linear(x, weight)
        x = as_rows("x", x, weight.columns)
        quants, scales = self.quantise(x)
        rounded = (quants * scales[:, :, None]).reshape(x.shape)
        both = self.linear(np.concatenate([x, x - rounded]), weight)
        return both[: len(x)] + both[len(x) :]

    def quantise(self, x: Array) -> tuple[NDArray[np.int8], Array]:
        """Round rows to int8 as the products do: ``x`` is about ``quants * scales``.

        Shapes: ``x (rows, columns)`` -> ``(rows, columns / 32, 32)``, ``(rows, columns / 32)``.
        """
        x = as_rows("x", x)
        rows, columns = x.shape
        if columns % BLOCK_COLUMNS:
            raise ShapeError(f"{columns} columns are not a multiple of {BLOCK_COLUMNS}")
        out = np.empty((rows, columns // BLOCK_COLUMNS), _BLOCK)
        self._library.kernels_quantise(self.handle, x.ctypes.data, rows, columns, out.ctypes.data)
        return out["quant"], out["scale"]

    def rms_norm(self, x: Array, gain: Array, eps: float) -> Array:
        """As ``transformer.arithmetic.rms_norm``. Shapes: ``x (rows, dim)``, ``gain (dim,)``."""
        x = as_rows("x", x)
        gain = as_vector("gain", gain, x.shape[1])
        out = np.empty_like(x)
        self._library.kernels_rms_norm(
            *(self.handle, x.ctypes.data, gain.ctypes.data, len(x)),
            *(x.shape[1], eps, out.ctypes.data),
        )
        return out

    def rope(self, x: Array, cos: Array, sin: Array) -> Array:
        """As ``transformer.rope.rope_interleaved``.

        Shapes: ``x (rows, heads, head_dim)``, ``cos``, ``sin`` ``(rows, pairs)``, as many pairs as
        half a head or fewer.
        """
        if x.ndim != 3 or x.dtype != np.float32 or 0 in x.shape:
            raise ShapeError(f"x is {x.dtype} {x.shape}, not float32 (rows, heads, head_dim)")
        rows, heads, head_dim = x.shape
        cos, sin = as_rows("cos", cos), as_rows("sin", sin)
        if cos.shape != sin.shape or 2 * cos.shape[1] > head_dim:
            raise ShapeError(f"angles cos {cos.shape} and sin {sin.shape} for heads of {head_dim}")
        if len(cos) != rows:
            raise ShapeError(f"angles for {len(cos)} rows; there are {rows}")
        out = np.array(x, order="C")
        rotation = RotationStruct(cos.ctypes.data, sin.ctypes.data, cos.shape[1])
        self._library.kernels_rope(out.ctypes.data, ctypes.byref(rotation), rows, heads, head_dim)
        return out

    def swiglu(self, gate: Array, up: Array) -> Array:
        """``silu(gate) * up``, elementwise. Shapes: both ``(rows, n)``."""
        gate, up = as_rows("gate", gate), as_rows("up", up)
        if gate.shape != up.shape or gate.size >= 2**31:
            raise ShapeError(f"gate is {gate.shape} and up is {up.shape}")
        out = gate.copy()
        self._library.kernels_swiglu(self.handle, out.ctypes.data, up.ctypes.data, out.size)
        return out

    def store(self, cache: KVCache, layer: int, keys: Array, values: Array) -> None:
        """Put the next positions into one layer of a cache, which stays as long as it was.

        Shapes: both ``(rows, n_kv_heads * head_dim)``.
        """
        with _reading(cache, layer, len(keys)) as (shape, heads, span):
            keys = as_rows("keys", keys, shape.n_kv_heads * shape.head_dim)
            values = as_rows("values", values, shape.n_kv_heads * shape.head_dim)
            if len(keys) != len(values):
                raise ShapeError(f"{len(keys)} keys and {len(values)} values")
            self._library.kernels_store(
                self.handle, heads, span, keys.ctypes.data, values.ctypes.data
            )

    def attend(self, cache: KVCache, layer: int, queries: Array) -> Array:
        """Attention of the positions that :meth:`store` has just put there.

        Shapes: ``queries (rows, n_heads * head_dim)`` -> as ``queries``.
        """
        with _reading(cache, layer, len(queries)) as (shape, heads, span):
            out = as_rows("queries", queries, shape.n_heads * shape.head_dim).copy()
            self._library.kernels_attend(self.handle, heads, span, out.ctypes.data)
        return out


@contextlib.contextmanager
def _reading(cache: KVCache, layer: int, rows: int) -> Iterator[tuple[LayerShape, Any, Any]]:
    if not 0 <= layer < len(cache.shapes):
        raise ShapeError(f"layer {layer} of a cache with {len(cache.shapes)}")
    cache.check_room(rows)
    heads = cache.heads(layer)
    span = SpanStruct(cache=cache.address, position=cache.length, start_row=0, stop_row=rows)
    yield cache.shapes[layer], ctypes.byref(heads), ctypes.byref(span)


def rows_of(weight: Matrix, indices: NDArray[np.integer]) -> Array:
    """Rows of a matrix as float32: embedding lookup. Shapes: ``(n,)`` -> ``(n, columns)``."""
    wanted = np.ascontiguousarray(indices, np.int64)
    if wanted.ndim != 1 or np.any((wanted < 0) | (wanted >= weight.rows)):
        raise ShapeError(f"a row that is not one of 0..{weight.rows - 1}")
    out = np.empty((len(wanted), weight.columns), np.float32)
    struct = weight.struct()
    compiled().kernels_rows(ctypes.byref(struct), wanted.ctypes.data, len(wanted), out.ctypes.data)
    return out


def unpack(weight: Matrix) -> Array:
    """The whole matrix as float32."""
    return rows_of(weight, np.arange(weight.rows))


def variants() -> tuple[str, ...]:
    """Names of the variants that this CPU has, fastest first."""
    names: list[str] = []
    found = compiled().kernels_variant
    while (name := found(len(names))) is not None:
        names.append(name.decode())
    return tuple(names)
