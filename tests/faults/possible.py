"""Whether this machine can be struck at all, said before anything runs."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.support.preloads import JumpingClock, clock_library
from tests.testbed.network.network import NetworkError
from tests.testbed.network.network import check_possible as check_network

_PACKAGES = {"cc": "gcc libc6-dev", "ip": "iproute2", "mount": "mount", "ss": "iproute2"}
_ASK = "import time; print(time.time())"
_AHEAD_S = 86_400


def check_possible() -> None:
    """Raise ``NetworkError`` unless there can be hosts, disks and clocks that jump."""
    check_network()
    for name, packages in _PACKAGES.items():
        if shutil.which(name) is None:
            raise NetworkError(f"faults need {name}: apt install {packages}")
    mount = "mount -t tmpfs none /mnt"
    _run(["unshare", "--net", "--mount", "sh", "-c", mount], "network and mount namespaces")
    with tempfile.TemporaryDirectory() as name:
        clock = JumpingClock(clock_library(Path(name)), Path(name) / "clock")
        usual = float(_run([sys.executable, "-c", _ASK], "a Python"))
        clock.set(_AHEAD_S)
        ahead = float(_run([sys.executable, "-c", _ASK], "a Python", clock.env))
    if ahead - usual < _AHEAD_S:
        raise NetworkError("faults need a clock that jumps: LD_PRELOAD has no effect here")


def _run(words: list[str], what: str, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(words, env={**os.environ, **(env or {})}, capture_output=True, text=True)
    if done.returncode:
        raise NetworkError(f"faults need {what}, which this machine refuses: {done.stderr.strip()}")
    return done.stdout
