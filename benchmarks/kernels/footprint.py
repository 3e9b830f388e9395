"""Memory and loading of a stage, measured in a process of its own.

    python -m benchmarks.kernels.footprint FOLDER CORE

This is the library's share: a Python process with numpy and the kernels that maps the files, makes
the stage and runs one step of 512 rows. A worker adds gRPC; :func:`measure` is where another
process can take its place.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.kernels.stage import LARGEST_STEP, SHAPE, Text, open_stage
from kernels import Engine

ROOT = Path(__file__).parents[2]


def measure(folder: Path, core: int, rows: int = LARGEST_STEP) -> dict[str, Any]:
    """``load_s`` from the request to ready, and ``anonymous_mib`` beyond weights and caches."""
    command = [sys.executable, "-m", "benchmarks.kernels.footprint", str(folder), str(core)]
    done = subprocess.run([*command, str(rows)], cwd=ROOT, stdout=subprocess.PIPE, check=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def _report(folder: Path, rows: int) -> dict[str, Any]:
    before = _anonymous_bytes()
    start = time.perf_counter()
    stage = open_stage(Engine(threads=1), folder)
    load_s = time.perf_counter() - start
    text = Text(stage)
    text.step(rows, 0)
    cached = text.cache.size_bytes * text.cache.length // SHAPE.capacity
    return {
        "load_s": load_s,
        "anonymous_mib": (_anonymous_bytes() - cached) / 2**20,
        "before_mib": before / 2**20,
        "cache_mib": cached / 2**20,
    }


def _anonymous_bytes() -> int:
    """Memory that is no file's. Python maps anonymous memory as shared, hence both lines."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return sum(
        int(line.split()[1]) * 1024 for line in lines if line.startswith(("RssAnon", "RssShmem"))
    )


if __name__ == "__main__":
    os.sched_setaffinity(0, {int(sys.argv[2])})
    print(json.dumps(_report(Path(sys.argv[1]), int(sys.argv[3]))))
