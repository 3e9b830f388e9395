"""What llvm-mca expects of the inner loops on the cores of a Raspberry Pi. Modelled, not measured.

    python -m benchmarks.arm_model [--ggml FOLDER]

Needs ``llvm-mca`` and ``aarch64-linux-gnu-gcc``, for ggml ``aarch64-linux-gnu-g++``. Assumes that
all data is in the first cache, so the figures are upper bounds: a loop that needs more cycles than
memory gives bytes is the one to mend. FOLDER is the source of llama.cpp or of llama-cpp-python,
whose loops then stand beside ours, for as many weights: a block is 16 rows of 32 columns. The last
line is JSON.
"""

import argparse
import json
import shutil
import sys
from itertools import chain
from pathlib import Path

from benchmarks.arm_model import ggml, inner_loops
from benchmarks.arm_model.assembly import BLOCK_MACS


def main() -> None:
    """Print a line for each loop."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.arm_model")
    parser.add_argument("--ggml", type=Path, metavar="FOLDER", help="the source of llama.cpp")
    folder = parser.parse_args().ggml
    for tool in ("llvm-mca", "aarch64-linux-gnu-gcc", *(["aarch64-linux-gnu-g++"] * bool(folder))):
        if shutil.which(tool) is None:
            sys.exit(f"{tool} is missing: apt install llvm g++-aarch64-linux-gnu")
    sources = folder and ggml.find_sources(folder)
    print("modelled per core with llvm-mca, all data in the first cache")
    result = []
    for core in inner_loops.CORES:
        theirs = ggml.modelled(sources, core.name) if sources else ()
        for figure in chain(inner_loops.modelled(core), theirs):
            gbps = core.ghz * figure.block_bytes / figure.cycles
            gmacs = core.ghz * figure.rows * BLOCK_MACS / figure.cycles
            print(
                f"{core.board} ({core.name}, {core.ghz} GHz), {figure.whose}, {figure.rows} rows: "
                f"{figure.cycles:6.1f} cycles a block, {gbps:5.1f} GB/s, {gmacs:5.1f} GMAC/s"
            )
            values = {"gbps": round(gbps, 1), "gmacs": round(gmacs, 1)}
            result.append({"core": core.name, "whose": figure.whose, "rows": figure.rows} | values)
    print(json.dumps({"modelled": result}))


if __name__ == "__main__":
    main()
