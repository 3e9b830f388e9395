"""The program and what it depends on, as wheels for aarch64: nothing is compiled on a Pi."""

import subprocess
import sys
from pathlib import Path

from tests.testbed.emulated_pi import System
from tests.testbed.errors import TestbedError

_ROOT = Path(__file__).parents[2]
_OLDEST_GLIBC = 17  # that wheels are made for
_TIMEOUT_S = 600.0


def build_wheel() -> Path:
    """The project's wheel for aarch64, made by ``make wheels``."""
    _succeed(["make", "--silent", "wheels"])
    wheels = sorted((_ROOT / "dist").glob("pi_cluster-*aarch64.whl"))
    return max(wheels, key=lambda wheel: wheel.stat().st_mtime)


def install(wheel: Path, system: System, folder: Path) -> None:
    """Unpack a wheel for aarch64, and what it needs, into ``folder`` for this system's Python.

    Raises ``TestbedError`` when one of them has no wheel that this system could take.
    """
    glibcs = range(_OLDEST_GLIBC, system.glibc + 1)
    platforms = ["linux_aarch64", "manylinux2014_aarch64"]
    platforms += [f"manylinux_2_{glibc}_aarch64" for glibc in glibcs]
    _succeed(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--only-binary=:all:"),
            *("--implementation", "cp", "--python-version", system.python),
            *(f"--platform={platform}" for platform in platforms),
            *("--target", str(folder), str(wheel)),
        ]
    )


def _succeed(command: list[str]) -> None:
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, timeout=_TIMEOUT_S)
    if done.returncode:
        raise TestbedError(f"{' '.join(command[:4])}... failed: {done.stderr.strip()[-2000:]}")
