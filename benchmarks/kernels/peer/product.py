"""ggml's own matrix product, one ``ggml_mul_mat`` of Q4_0 weights, through its C interface.

ggml has two ways to do it: over the blocks as they stand in a GGUF, and over blocks repacked for
the CPU when they were loaded. Both are here; whoever compares takes the faster one.
"""

import ctypes
import time
from ctypes import POINTER, c_bool, c_char_p, c_int, c_int64, c_size_t, c_void_p
from pathlib import Path

import llama_cpp
import numpy as np
from numpy.typing import NDArray

_F32, _Q4_0 = 0, 2  # enum ggml_type
_OVERHEAD = 1 << 20  # for the descriptions of a few tensors and a graph


class _InitParams(ctypes.Structure):
    _fields_ = (("mem_size", c_size_t), ("mem_buffer", c_void_p), ("no_alloc", c_bool))


_FUNCTIONS = {
    "ggml_init": (c_void_p, _InitParams),
    "ggml_new_tensor_2d": (c_void_p, c_void_p, c_int, c_int64, c_int64),
    "ggml_mul_mat": (c_void_p, c_void_p, c_void_p, c_void_p),
    "ggml_new_graph": (c_void_p, c_void_p),
    "ggml_build_forward_expand": (None, c_void_p, c_void_p),
    "ggml_backend_alloc_ctx_tensors_from_buft": (c_void_p, c_void_p, c_void_p),
    "ggml_backend_tensor_set": (None, c_void_p, c_void_p, c_size_t, c_size_t),
    "ggml_backend_tensor_get": (None, c_void_p, c_void_p, c_size_t, c_size_t),
    "ggml_backend_cpu_buffer_type": (c_void_p,),
    "ggml_backend_buft_name": (c_char_p, c_void_p),
    "ggml_backend_reg_dev_get": (c_void_p, c_void_p, c_size_t),
    "ggml_backend_reg_get_proc_address": (c_void_p, c_void_p, c_char_p),
    "ggml_backend_cpu_reg": (c_void_p,),
    "ggml_backend_cpu_init": (c_void_p,),
    "ggml_backend_cpu_set_n_threads": (None, c_void_p, c_int),
    "ggml_backend_graph_compute": (c_int, c_void_p, c_void_p),
}


class Ggml:
    """The functions of ggml that a product needs, from the libraries of llama-cpp-python."""

    def __init__(self) -> None:
        folder = Path(llama_cpp.__file__).parent / "lib"
        libraries = [
            ctypes.CDLL(str(folder / name), ctypes.RTLD_GLOBAL)
            for name in ("libggml-base.so", "libggml-cpu.so")
        ]
        for name, (result, *arguments) in _FUNCTIONS.items():
            function = next(getattr(lib, name) for lib in libraries if hasattr(lib, name))
            function.restype, function.argtypes = result, arguments
            setattr(self, name.removeprefix("ggml_"), function)

    def __getattr__(self, name: str) -> "ctypes._NamedFuncPointer":
        raise AttributeError(name)

    def buffer_types(self) -> dict[str, int]:
        """Where weights can lie, by the names that ggml gives: as they are, or repacked."""
        plain = self.backend_cpu_buffer_type()
        registry = self.backend_cpu_reg()
        find = ctypes.CFUNCTYPE(POINTER(c_void_p), c_void_p)(
            self.backend_reg_get_proc_address(registry, b"ggml_backend_dev_get_extra_bufts")
        )
        found, index = [plain], 0
        extra = find(self.backend_reg_dev_get(registry, 0))
        while extra and extra[index]:
            found.append(extra[index])
            index += 1
        return {self.backend_buft_name(kind).decode(): kind for kind in found}


class Product:
    """Weights times some rows of activations on one thread, ready to be run again and again."""

    def __init__(self, ggml: Ggml, buffer_type: int, q4_0: NDArray[np.uint8], rows: int) -> None:
        self._ggml = ggml
        outputs, columns = len(q4_0), q4_0.shape[1] // 18 * 32
        held = ggml.init(_InitParams(_OVERHEAD, None, True))
        weights = ggml.new_tensor_2d(held, _Q4_0, columns, outputs)
        assert ggml.backend_alloc_ctx_tensors_from_buft(held, buffer_type)
        ggml.backend_tensor_set(weights, q4_0.ctypes.data, 0, q4_0.nbytes)

        context = ggml.init(_InitParams(_OVERHEAD, None, True))
        self._x = ggml.new_tensor_2d(context, _F32, columns, rows)
        self._y = ggml.mul_mat(context, weights, self._x)
        self._graph = ggml.new_graph(context)
        ggml.build_forward_expand(self._graph, self._y)
        assert ggml.backend_alloc_ctx_tensors_from_buft(context, ggml.backend_cpu_buffer_type())
        self._backend = ggml.backend_cpu_init()
        ggml.backend_cpu_set_n_threads(self._backend, 1)
        self._out = np.empty((rows, outputs), np.float32)

    def set_input(self, x: NDArray[np.float32]) -> None:
        """Shapes: ``x (rows, columns)``."""
        self._ggml.backend_tensor_set(self._x, x.ctypes.data, 0, x.nbytes)

    def seconds(self) -> float:
        """Run once."""
        start = time.perf_counter()
        status = self._ggml.backend_graph_compute(self._backend, self._graph)
        taken = time.perf_counter() - start
        assert status == 0, f"ggml failed with status {status}"
        return taken

    def output(self) -> NDArray[np.float32]:
        """What the last run computed. Shapes: -> ``(rows, outputs)``."""
        self._ggml.backend_tensor_get(self._y, self._out.ctypes.data, 0, self._out.nbytes)
        return self._out
