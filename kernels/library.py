"""The compiled library: its structures and functions as ctypes sees them (src/kernels.h)."""

import ctypes
import functools
import importlib.util
from ctypes import POINTER, c_char_p, c_float, c_int, c_int32, c_int64, c_void_p
from pathlib import Path
from typing import Any

from pi_cluster.kernels.errors import KernelsError

_FILE_NAME = "libkernels.so"


class MatrixStruct(ctypes.Structure):
    """``struct matrix`` of src/formats.h."""

    _fields_ = (
        ("data", c_void_p),
        ("format", c_int32),
        ("rows", c_int32),
        ("columns", c_int32),
    )


class ShapeStruct(ctypes.Structure):
    """``struct shape`` of src/kernels.h."""

    _fields_ = (
        ("dim", c_int32),
        ("most_queries", c_int32),
        ("most_keys", c_int32),
        ("most_hidden", c_int32),
        ("norm_eps", c_float),
    )


class HeadsStruct(ctypes.Structure):
    """``struct heads`` of src/kernels.h."""

    _fields_ = (
        ("window", c_int64),
        ("capacity", c_int64),
        ("cache_offset", c_int64),
        ("n_heads", c_int32),
        ("n_kv_heads", c_int32),
        ("head_dim", c_int32),
        ("query_scale", c_float),
    )


class LayerStruct(ctypes.Structure):
    """``struct layer`` of src/kernels.h; what is not set is NULL, and not executed."""

    _fields_ = (
        ("heads", HeadsStruct),
        *((name, c_void_p) for name in ("attention_norm", "ffn_norm")),
        *((name, MatrixStruct) for name in ("wq", "wk", "wv", "wo", "w1", "w2", "w3")),
        *((name, c_void_p) for name in ("bq", "bk", "bv", "bo", "q_norm", "k_norm")),
        ("rotation", c_int32),
    )


class RotationStruct(ctypes.Structure):
    """``struct rotation`` of src/kernels.h."""

    _fields_ = (
        ("cos", c_void_p),
        ("sin", c_void_p),
        ("pairs", c_int32),
    )


class SpanStruct(ctypes.Structure):
    """``struct span`` of src/kernels.h."""

    _fields_ = (
        ("cache", c_void_p),
        ("position", c_int64),
        ("start_row", c_int32),
        ("stop_row", c_int32),
    )


class StepStruct(ctypes.Structure):
    """``struct step`` of src/kernels.h."""

    _fields_ = (
        ("hidden", c_void_p),
        ("rotations", POINTER(RotationStruct)),
        ("spans", POINTER(SpanStruct)),
        ("scratch", c_void_p),
        ("rows", c_int32),
        ("n_spans", c_int32),
    )


_MATRIX, _SHAPE, _SPAN = POINTER(MatrixStruct), POINTER(ShapeStruct), POINTER(SpanStruct)
_HEADS, _ROTATION = POINTER(HeadsStruct), POINTER(RotationStruct)
_ENGINE = c_void_p
_FUNCTIONS: dict[str, tuple[Any, ...]] = {
    "kernels_variant": (c_char_p, c_int),
    "kernels_open": (_ENGINE, c_char_p, c_int),
    "kernels_close": (None, _ENGINE),
    "kernels_name": (c_char_p, _ENGINE),
    "kernels_pack": (None, _ENGINE, c_void_p, c_void_p, _MATRIX),
    "kernels_rows": (None, _MATRIX, c_void_p, c_int, c_void_p),
    "kernels_quantise": (None, _ENGINE, c_void_p, c_int, c_int, c_void_p),
    "kernels_linear": (None, _ENGINE, _MATRIX, c_void_p, c_int, c_void_p, c_void_p),
    "kernels_rms_norm": (None, _ENGINE, c_void_p, c_void_p, c_int, c_int, c_float, c_void_p),
    "kernels_rope": (None, c_void_p, _ROTATION, c_int, c_int, c_int),
    "kernels_swiglu": (None, _ENGINE, c_void_p, c_void_p, c_int64),
    "kernels_cache_bytes": (c_int64, _HEADS),
    "kernels_store": (None, _ENGINE, _HEADS, _SPAN, c_void_p, c_void_p),
    "kernels_attend": (None, _ENGINE, _HEADS, _SPAN, c_void_p),
    "kernels_scratch_bytes": (c_int64, _ENGINE, _SHAPE, c_int),
    "kernels_stage": (None, _ENGINE, _SHAPE, POINTER(LayerStruct), c_int, POINTER(StepStruct)),
}


def is_installed() -> bool:
    """Whether the library is there; not whether it can be loaded."""
    return _place() is not None


@functools.cache
def compiled() -> ctypes.CDLL:
    """The library, loaded once.

    Raises ``KernelsError`` when it was not installed, or was built for another machine.
    """
    path = _place()
    if path is None:
        raise KernelsError(
            "this installation has no compiled kernels, since there was no C compiler when it was "
            "made: it can plan, shard and ask, and be no node. On Linux, `sudo apt install gcc "
            "libc6-dev` and run the same `pip install` again; or install the wheel that was built "
            "for this processor"
        )
    try:
        # ctypes releases the interpreter's lock during each call.
        library = ctypes.CDLL(str(path))
    except OSError as error:
        raise KernelsError(f"{path} cannot be loaded: {error}. Install again") from error
    for name, (result, *arguments) in _FUNCTIONS.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def _place() -> Path | None:
    package = importlib.util.find_spec(__package__)
    assert package is not None and package.submodule_search_locations is not None
    # An editable install has two folders: the sources, and where the build was put.
    paths = [Path(folder) / _FILE_NAME for folder in package.submodule_search_locations]
    return next((path for path in paths if path.exists()), None)
