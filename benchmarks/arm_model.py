"""What llvm-mca expects of the inner loops on Raspberry Pis and beyond. Modelled, not measured.

    python -m benchmarks.arm_model

Needs ``llvm-mca`` and ``aarch64-linux-gnu-gcc``. Assumes that all data is in the first cache, so
the figures are upper bounds: a loop that needs more cycles than memory gives bytes is the one to
mend. No Raspberry Pi has the matrix product of ``neon_i8mm.c``; its core here is a server's, which
llvm-mca before 17 takes for a slower one. The last line is JSON.
"""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SOURCES = Path(__file__).parents[1] / "kernels" / "src"
_BLOCK_BYTES, _BLOCK_MACS, _SLICES = 288, 16 * 32, 4
_ITERATIONS = 200
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
    Core(
        *("neoverse-v1", "Graviton 3, no Pi", 2.6, "neon_i8mm.c"),
        flags=("-march=armv8.2-a+dotprod+i8mm", "-mtune=neoverse-v1"),
        shift=r"\tshl\tv",
    ),
)


def main() -> None:
    """Print a line for each number of rows that a tile takes in one pass."""
    for tool in ("llvm-mca", "aarch64-linux-gnu-gcc"):
        if shutil.which(tool) is None:
            sys.exit(f"{tool} is missing: apt install llvm gcc-aarch64-linux-gnu")
    print("modelled per core with llvm-mca, all data in the first cache")
    result = [
        {"core": core.name, "rows": rows, "gbps": round(gbps, 1), "gmacs": round(gmacs, 1)}
        for core in CORES
        for rows, gbps, gmacs in _modelled(core)
    ]
    print(json.dumps({"modelled": result}))


def _modelled(core: Core) -> Iterator[tuple[int, float, float]]:
    command = ("aarch64-linux-gnu-gcc", "-O3", "-ffp-contract=off", "-fno-math-errno")
    source = str(SOURCES / core.source)
    assembly = _output([*command, *core.flags, "-S", "-o", "-", source])
    loops = {}
    for body in _innermost_loops(_function(assembly, "q4_tile")):
        slices = len(re.findall(core.shift, body)) // _SHIFTS_PER_SLICE
        if slices:
            rows = len(re.findall(r"\tfmla\t", body)) // slices
            loops[rows] = (slices / _SLICES, body)
    for rows, (share, body) in sorted(loops.items()):
        cycles = _cycles(body, core.name) / share
        gbps, gmacs = (core.ghz * n / cycles for n in (_BLOCK_BYTES, rows * _BLOCK_MACS))
        print(
            f"{core.board} ({core.name}, {core.ghz} GHz), {rows} rows: {cycles:6.1f} cycles a "
            f"block, {gbps:5.1f} GB/s, {gmacs:5.1f} GMAC/s"
        )
        yield rows, gbps, gmacs


def _function(assembly: str, name: str) -> str:
    found = re.search(rf"^{name}:\n(.*?)^\t\.size\t{name},", assembly, re.S | re.M)
    assert found, f"no function {name}"
    return found[1]


def _innermost_loops(function: str) -> Iterator[str]:
    """Code from a label to the conditional branch back to it, with no such loop inside."""
    lines = function.splitlines()
    start: dict[str, int] = {}
    last_end = -1
    for number, line in enumerate(lines):
        if label := re.match(r"(\.L\w+):", line):
            start[label[1]] = number
        branch = re.match(r"\t(?:b\.?\w+|cbn?z\t\w+,)\s+(\.L\w+)", line)
        if branch and start.get(branch[1], -1) > last_end:
            yield "\n".join(lines[start[branch[1]] + 1 : number + 1])
            last_end = number


def _cycles(body: str, cpu: str) -> float:
    """Cycles an iteration."""
    code = "\n".join(line for line in body.splitlines() if not re.match(r"\t\.|\s*//", line))
    # gcc writes bytes with their sign extended, which llvm does not read.
    code = re.sub(r"0xf{14}([0-9a-f]{2})", r"0x\1", code)
    out = _output(
        ["llvm-mca", "-mtriple=aarch64", f"-mcpu={cpu}", f"-iterations={_ITERATIONS}"], code
    )
    found = re.search(r"Total Cycles:\s+(\d+)", out)
    assert found, "llvm-mca says nothing of cycles"
    return int(found[1]) / _ITERATIONS


def _output(command: list[str], text: str | None = None) -> str:
    done = subprocess.run(command, input=text, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


if __name__ == "__main__":
    main()
