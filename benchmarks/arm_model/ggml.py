"""ggml's inner loops for its Q4_0 weights, compiled from its own sources as for that core."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.arm_model.assembly import (
    BLOCK_MACS,
    PRODUCTS,
    Figure,
    compiled,
    cycles,
    function,
    innermost_loops,
)

_ARM = Path("src/ggml-cpu/arch/arm")


@dataclass(frozen=True, slots=True)
class Function:
    """A function of ggml, and how many weights an iteration of its loops takes."""

    name: str
    source: str
    weights: int
    """0: as many as products, which is so for one row of activations."""


VECTOR_DOT = Function("ggml_vec_dot_q4_0_q8_0", "quants.c", 0)
_REPACKED = (
    Function("ggml_gemv_q4_0_4x4_q8_0", "repack.cpp", 0),
    Function("ggml_gemm_q4_0_4x4_q8_0", "repack.cpp", 4 * 32),
)
_FUNCTIONS = {
    "cortex-a76": (VECTOR_DOT, *_REPACKED),
    "cortex-a72": (VECTOR_DOT,),  # the others need the dot product
}


def modelled(ggml: Path, core: str) -> Iterator[Figure]:
    """A figure for each inner loop that multiplies."""
    includes = [f"-I{ggml / folder}" for folder in ("include", "src", "src/ggml-cpu")]
    for wanted in _FUNCTIONS.get(core, ()):
        flags = [f"-mcpu={core}", "-DNDEBUG", *includes]
        assembly = compiled(ggml / _ARM / wanted.source, flags)
        found = {}
        for body in innermost_loops(function(assembly, wanted.name)):
            macs = sum(n * len(re.findall(name, body)) for name, n in PRODUCTS.items())
            if macs:
                weights = wanted.weights or macs
                found[macs // weights] = cycles(body, core) * BLOCK_MACS / weights
        for rows, needed in sorted(found.items()):
            yield Figure(wanted.name, rows, needed)


def find_sources(folder: Path) -> Path:
    """ggml's folder in a checkout of llama.cpp, of ggml, or in llama-cpp-python's source."""
    for inside in (".", "ggml", "vendor/llama.cpp/ggml"):
        if (folder / inside / _ARM).is_dir():
            return folder / inside
    raise FileNotFoundError(f"{folder} has no {_ARM}: it is not the source of llama.cpp")
