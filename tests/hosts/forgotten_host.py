"""Switches a host on, says so, and waits to be killed. ``python -m tests.hosts.forgotten_host``"""

import signal
import sys
from pathlib import Path

from tests.testbed.network.network import Network
from tests.testbed.operator_host import Operator
from tests.testbed.systemd_host import SystemdHost


def main(folder: Path) -> None:
    """The host's card and the operator's home lie in ``folder``."""
    with (
        Network(2, "none") as network,
        Operator(network, folder) as operator,
        SystemdHost(operator, 1, folder / "pi1") as host,
    ):
        host.wait_for_ssh()
        print("on", flush=True)
        signal.pause()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
