"""Whether this installation can run a worker at all."""

import platform
import sys

from pi_cluster.kernels import KernelsError, compiled


def check_able() -> None:
    """Raise ``KernelsError``, with the next step, where no worker can run."""
    if sys.platform != "linux":
        raise KernelsError(
            f"a worker needs Linux, and this is {platform.system()}: run it on a Raspberry Pi or "
            "another Linux machine, as `pi-cluster up --hosts pi@HOST` does from here"
        )
    compiled()
