"""The worker's service on this machine, from the program that runs now.

`join` installs it, `leave` removes it.
"""

import hashlib
import json
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from pi_cluster.cluster.advice import command
from pi_cluster.cluster.errors import HostError
from pi_cluster.coordinator.records.known_hosts import DEFAULT_DATA_DIR
from pi_cluster.deploy.hosts.remote import files, layout, purge, worker_service
from pi_cluster.deploy.hosts.systemd_unit import cluster_on_port, worker_unit
from pi_cluster.worker.command_line import WorkerCommand

PROGRAM = Path("/opt/pi-cluster-program")
"""Where a person, or cloud-init, installs the program that joins.

Not in ``layout.PROGRAMS``, whose folders are named after clusters, and which goes with the last of
them: whoever leaves still runs this program, and may join again.
"""

_MAX_RECEIPT_BYTES = 1 << 16


def data_folder(cluster: str) -> str:
    """Where the service keeps its shards and credentials."""
    return str(layout.data(cluster, DEFAULT_DATA_DIR))


def can_install() -> bool:
    """Whether this user may install services, and this machine has them."""
    return os.geteuid() == 0 and os.path.isdir("/run/systemd/system")  # noqa: PTH112


def check_port(cluster: str, port: int) -> None:
    """Raise ``HostError`` where the worker of another cluster listens on this port."""
    if other := cluster_on_port(worker_service.others(cluster), port):
        raise HostError(
            f"port {port} is taken here by {layout.unit_name(other)}, the worker of another "
            f"cluster: take that back with `sudo pi-cluster leave --cluster {other}`, or choose "
            "another port, as with --listen 0.0.0.0:7712; nothing was changed"
        )


def prepare(cluster: str) -> None:
    """Have the system user and its folder exist. Raises ``HostError``."""
    _checked(worker_service.prepare_user)
    _checked(lambda: worker_service.prepare_data(cluster, DEFAULT_DATA_DIR))


def install(worker: WorkerCommand) -> str:
    """Install and start the service; what was written for it becomes the system user's.

    Returns the unit's name. Raises ``HostError`` when that user cannot run this program.
    """
    cluster = worker.cluster
    _checked(lambda: worker_service.own_data(cluster, DEFAULT_DATA_DIR))
    words = [
        *worker_service.become_user(),
        sys.executable,
        "-P",
        "-c",
        "import pi_cluster.worker.cli",
    ]
    if layout.run(words).returncode:
        raise HostError(
            f"the service runs as the user {layout.SYSTEM_USER}, who cannot run {sys.executable}: "
            "install pi-cluster where everybody can read it, as in `sudo python3 -m venv "
            f"{PROGRAM}`, and run `{PROGRAM}/bin/pi-cluster join` from there"
        )
    unit = worker_unit(replace(worker, python=sys.executable))
    _checked(lambda: worker_service.write_unit(cluster, unit))
    _checked(lambda: worker_service.start(cluster, anew=True))
    return layout.unit_name(cluster)


def is_installed(cluster: str) -> bool:
    """Whether there is a service of this cluster, or something of it is left."""
    return layout.unit_file(cluster).exists() or Path(data_folder(cluster)).exists()


def remove(cluster: str) -> None:
    """Remove the service and what it kept; with the last cluster, the system user too.

    The program stays. Raises ``HostError``, also for a service that was set up over SSH.
    """
    if _is_set_up_over_ssh(cluster):
        raise HostError(
            f"{layout.unit_name(cluster)} was set up over SSH, by an operator who would set it up "
            f"again: have this node revoked there (`{command(cluster, 'node', 'revoke', 'NAME')}`) "
            f"and flash this card, or all hosts cleared (`{command(cluster, 'down', '--purge')}`)"
        )
    _checked(lambda: purge.remove_worker(cluster, DEFAULT_DATA_DIR))
    _checked(purge.remove_shared)


def is_last() -> bool:
    """Whether no cluster has a service here."""
    return not any(layout.UNITS.glob("pi-cluster-*.service"))


def _is_set_up_over_ssh(cluster: str) -> bool:
    """Whether the unit is the one that `pi-cluster up --hosts` has left a receipt of."""
    unit = files.read(layout.unit_file(cluster), _MAX_RECEIPT_BYTES)
    receipt = files.read(layout.receipt(cluster), _MAX_RECEIPT_BYTES)
    if unit is None or receipt is None:
        return False
    try:
        values = json.loads(receipt)
    except (ValueError, RecursionError):
        return False
    digest = hashlib.sha256(unit.encode()).hexdigest()
    return isinstance(values, dict) and values.get("unit") == digest


def _checked(operation: Callable[[], object]) -> None:
    try:
        operation()
    except layout.Failure as failure:
        raise HostError(str(failure)) from None
