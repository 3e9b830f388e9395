"""Wheels for the test bed's hosts, in the operator's cache: that computer has no way out."""

import shutil

from pi_cluster.cluster.settings import folders
from pi_cluster.deploy.wheels.wheelhouse import Target, wheelhouse
from tests.testbed.operator_host import Operator

PI_OS_LITE = Target((3, 11), "x86_64", 36)
"""What `tests/testbed/rootfs.py` makes."""


def bring_wheels(operator: Operator) -> None:
    """Build and download what is not in this machine's cache, and give the operator all of it."""
    wheelhouse(PI_OS_LITE, None)
    cache = operator.home / ".cache" / "pi-cluster"
    shutil.copytree(folders().cache / "wheels", cache / "wheels", dirs_exist_ok=True)
