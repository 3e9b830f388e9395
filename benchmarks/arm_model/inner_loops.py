"""Our inner loops on the cores of a Raspberry Pi."""

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

SOURCES = Path(__file__).parents[2] / "kernels" / "src"
_SLICES = 4  # of a block
_SHIFTS_PER_SLICE = 4  # one for each vector of nibbles
_LOOKUPS_PER_SLICE = 8  # of q4n: one for each vector of weights
_BLOCK_BYTES = {"q4": 288, "q4n": 288, "q4_1": 320, "q4k": 288}  # 16 rows of 32 columns
_WITH_OFFSETS = ("q4_1", "q4k")
_BLOCKS_OF_Q4K = 8  # that one opening of a slice serves
_PANEL_ROWS = 256  # that share an unpacking: linear.c


@dataclass(frozen=True, slots=True)
class Core:
    """A core, how its kernels are compiled, and the instruction that takes nibbles apart."""

    name: str
    board: str
    ghz: float
    source: str
    flags: tuple[str, ...]
    shift: str
    panels: tuple[tuple[str, str], ...] = ()
    """Formats, and the functions that multiply their panels."""


CORES = (
    Core(
        *("cortex-a76", "Pi 5", 2.4, "neon_dotprod.c"),
        flags=("-march=armv8.2-a+dotprod", "-mtune=cortex-a76", "-fno-schedule-insns"),
        shift=r"\tshl\tv",
        panels=(
            *(("q4", "plain_panel"), ("q4n", "plain_panel")),
            *(("q4_1", "offset_panel"), ("q4k", "offset_panel")),
        ),
    ),
    Core(
        *("cortex-a72", "Pi 4", 1.8, "neon.c"),
        flags=("-march=armv8-a", "-mtune=cortex-a72"),
        shift=r"\tushr\tv",
        panels=(
            *(("q4", "q4_panel"), ("q4n", "byte_panel")),
            *(("q4_1", "offset_panel"), ("q4k", "offset_panel")),
        ),
    ),
    # No Raspberry Pi has this one, and llvm-mca before 17 takes it for a slower core.
    Core(
        *("neoverse-v1", "Graviton 3, no Pi", 2.6, "neon_i8mm.c"),
        flags=("-march=armv8.2-a+dotprod+i8mm", "-mtune=neoverse-v1"),
        shift=r"\tshl\tv",
    ),
)


def modelled(core: Core) -> Iterator[Figure]:
    """A figure for each format and each number of rows that a tile takes in one pass."""
    flags = ("-ffp-contract=off", "-fno-math-errno", *core.flags)
    assembly = compiled(SOURCES / core.source, flags)
    for whose, form, sign, per_slice in (
        ("ours", "q4", core.shift, _SHIFTS_PER_SLICE),
        ("ours q4n", "q4n", r"\ttbl\t", _LOOKUPS_PER_SLICE),
    ):
        loops = {}
        for body in innermost_loops(function(assembly, f"{form}_tile")):
            slices = len(re.findall(sign, body)) // per_slice
            if slices:
                rows = len(re.findall(r"\tfmla\t", body)) // slices
                loops[rows] = (slices / _SLICES, body)
        for rows, (share, body) in sorted(loops.items()):
            yield Figure(whose, rows, cycles(body, core.name) / share)
    for form in _WITH_OFFSETS:
        loops_of_form = _with_offsets(function(assembly, f"{form}_tile"), core, form == "q4k")
        for rows, needed in sorted(loops_of_form.items()):
            yield Figure(f"ours {form}", rows, needed, _BLOCK_BYTES[form])
    for form, tile in core.panels:
        needed = _from_panels(assembly, core, form, tile)
        yield Figure(f"ours {form}, panels", _PANEL_ROWS, needed, _BLOCK_BYTES[form])


def _from_panels(assembly: str, core: Core, form: str, tile: str) -> float:
    """Cycles of a block for all rows: of the tile that multiplies most, and of its unpacking.

    The header of a Q4K block, opened once for 8 blocks and all rows, is left out.
    """
    unpacking = max(
        cycles(body, core.name) for body in innermost_loops(function(assembly, f"unpack_{form}"))
    )
    loops = {
        sum(n * len(re.findall(name, body)) for name, n in PRODUCTS.items()): body
        for body in innermost_loops(function(assembly, tile))
    }
    macs = max(loops)
    return unpacking + cycles(loops[macs], core.name) * _PANEL_ROWS * BLOCK_MACS / macs


def _with_offsets(code: str, core: Core, has_levels: bool) -> dict[int, float]:
    """Cycles by rows: of the loop over blocks, and of a share in what is unpacked before it.

    Nothing where the unpacking is no loop of its own, so that it cannot be counted.
    """
    found: dict[int, float] = {}
    opening = 0.0
    for body in innermost_loops(code):
        slices = len(re.findall(r"\tushr\tv", body)) // _SHIFTS_PER_SLICE
        products = len(re.findall(r"\tfmla\t", body))  # two a row: by the scale and by the offset
        if products:
            found[products // (2 * slices)] = cycles(body, core.name) * _SLICES / slices
        elif re.search(r"\tucvtf\t", body):
            opening = cycles(body, core.name) * _SLICES / _BLOCKS_OF_Q4K
    if has_levels and not opening:
        return {}
    return {rows: needed + opening for rows, needed in found.items()}
