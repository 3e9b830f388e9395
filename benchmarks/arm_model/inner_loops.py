"""Our inner loops on the cores of a Raspberry Pi."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.arm_model.assembly import Figure, compiled, cycles, function, innermost_loops

SOURCES = Path(__file__).parents[2] / "kernels" / "src"
_SLICES = 4  # of a block
_SHIFTS_PER_SLICE = 4  # one for each vector of nibbles


@dataclass(frozen=True, slots=True)
class Core:
    """A core, how its kernels are compiled, and the instruction that takes nibbles apart."""

    name: str
    board: str
    ghz: float
    source: str
    flags: tuple[str, ...]
    shift: str


CORES = (
    Core(
        *("cortex-a76", "Pi 5", 2.4, "neon_dotprod.c"),
        flags=("-march=armv8.2-a+dotprod", "-mtune=cortex-a76"),
        shift=r"\tshl\tv",
    ),
    Core(
        *("cortex-a72", "Pi 4", 1.8, "neon.c"),
        flags=("-march=armv8-a", "-mtune=cortex-a72"),
        shift=r"\tushr\tv",
    ),
    # No Raspberry Pi has this one, and llvm-mca before 17 takes it for a slower core.
    Core(
        *("neoverse-v1", "Graviton 3, no Pi", 2.6, "neon_i8mm.c"),
        flags=("-march=armv8.2-a+dotprod+i8mm", "-mtune=neoverse-v1"),
        shift=r"\tshl\tv",
    ),
)


def modelled(core: Core) -> Iterator[Figure]:
    """A figure for each number of rows that a tile takes in one pass."""
    flags = ("-ffp-contract=off", "-fno-math-errno", *core.flags)
    assembly = compiled(SOURCES / core.source, flags)
    loops = {}
    for body in innermost_loops(function(assembly, "q4_tile")):
        slices = len(re.findall(core.shift, body)) // _SHIFTS_PER_SLICE
        if slices:
            rows = len(re.findall(r"\tfmla\t", body)) // slices
            loops[rows] = (slices / _SLICES, body)
    for rows, (share, body) in sorted(loops.items()):
        yield Figure("ours", rows, cycles(body, core.name) / share)
