"""From a source file to the cycles of its inner loops: gcc, then llvm-mca."""

import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

BLOCK_BYTES, BLOCK_MACS = 288, 16 * 32
"""Of our q4: 16 rows of 32 columns. ggml's blocks hold as many bytes for as many weights."""

PRODUCTS = {r"\bsdot\b": 16, r"\bsm[lu]+[al]l2?\b": 8}
"""Multiply-adds of an instruction."""

_ITERATIONS = 200
_LABEL = r"(\.L\w+|\d+):"
_BRANCH_BACK = r"\s*(?:b\.?\w\w|cbn?z\s+\w+,)\s+(\.L\w+|\d+(?=b))"


@dataclass(frozen=True, slots=True)
class Figure:
    """What a loop needs for a block of weights and ``rows`` rows of activations."""

    whose: str
    rows: int
    cycles: float
    block_bytes: int = BLOCK_BYTES


def compiled(source: Path, flags: Sequence[str]) -> str:
    """Assembly of a C or C++ file."""
    compiler = "aarch64-linux-gnu-g++" if source.suffix == ".cpp" else "aarch64-linux-gnu-gcc"
    assembly = _output([compiler, "-O3", *flags, "-S", "-o", "-", str(source)])
    # In assembly by hand, an instruction may follow its label, or stand in a comment as the
    # meaning of a number, for assemblers that do not know it.
    assembly = re.sub(rf"^{_LABEL}[ \t]*(?=[a-z.])", r"\1:\n", assembly, flags=re.M)
    return re.sub(r"^\.inst\s+0x\w+\s*//\s*", "\t", assembly, flags=re.M)


def function(assembly: str, name: str) -> str:
    """The code of one function."""
    found = re.search(rf"^{name}:\n(.*?)^\t\.size\t{name},", assembly, re.S | re.M)
    assert found, f"no function {name}"
    return found[1]


def innermost_loops(code: str) -> Iterator[str]:
    """Code from a label up to the conditional branch back to it, with no such loop inside."""
    lines = code.splitlines()
    start: dict[str, int] = {}
    last_end = -1
    for number, line in enumerate(lines):
        if label := re.match(_LABEL, line):
            start[label[1]] = number
        branch = re.match(_BRANCH_BACK, line)
        if branch and start.get(branch[1], -1) > last_end:
            yield "\n".join(lines[start[branch[1]] : number + 1])
            last_end = number


def cycles(body: str, cpu: str) -> float:
    """Cycles an iteration."""
    code = "\n".join(line for line in body.splitlines() if not re.match(r"\t\.|\s*//|#", line))
    # gcc writes bytes with their sign extended, which llvm does not read.
    code = re.sub(r"0xf{14}([0-9a-f]{2})", r"0x\1", code)
    out = _output(
        ["llvm-mca", "-mtriple=aarch64", f"-mcpu={cpu}", f"-iterations={_ITERATIONS}"], code
    )
    found = re.search(r"Total Cycles:\s+(\d+)", out)
    assert found, "llvm-mca says nothing of cycles"
    return int(found[1]) / _ITERATIONS


def _output(command: Sequence[str], text: str | None = None) -> str:
    done = subprocess.run(command, input=text, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout
