"""The worker's service on this machine, from the program that runs now: what `join` installs."""

import os
import sys
from collections.abc import Callable
from dataclasses import replace

from cluster.errors import HostError
from deploy.hosts import DEFAULT_DATA_DIR
from deploy.remote import layout, service
from deploy.service import WorkerCommand, worker_unit


def data_folder(cluster: str) -> str:
    """Where the service keeps its shards and credentials."""
    return str(layout.data(cluster, DEFAULT_DATA_DIR))


def can_install() -> bool:
    """Whether this user may install services, and this machine has them."""
    return os.geteuid() == 0 and os.path.isdir("/run/systemd/system")  # noqa: PTH112


def prepare(cluster: str) -> None:
    """Have the system user and its folder exist. Raises ``HostError``."""
    _checked(service.prepare_user)
    _checked(lambda: service.prepare_data(cluster, DEFAULT_DATA_DIR))


def install(worker: WorkerCommand) -> str:
    """Install and start the service; what was written for it becomes the system user's.

    Returns the unit's name. Raises ``HostError`` when that user cannot run this program.
    """
    cluster = worker.cluster
    _checked(lambda: service.own_data(cluster, DEFAULT_DATA_DIR))
    words = [*service.become_user(), sys.executable, "-P", "-c", "import worker.cli"]
    if layout.run(words).returncode:
        raise HostError(
            f"the service runs as the user {layout.SYSTEM_USER}, who cannot run {sys.executable}: "
            "install pi-cluster where everybody can read it, as in `sudo python3 -m venv "
            "/opt/pi-cluster-program`, and run `pi-cluster join` from there"
        )
    unit = worker_unit(replace(worker, python=sys.executable))
    _checked(lambda: service.write_unit(cluster, unit))
    _checked(lambda: service.start(cluster, anew=True))
    return layout.unit_name(cluster)


def _checked(operation: Callable[[], object]) -> None:
    try:
        operation()
    except layout.Failure as failure:
        raise HostError(str(failure)) from None
