"""What `up --hosts` remembers of the hosts that it set up: `hosts.json` in the cluster's folder."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from pi_cluster.cluster import settings
from pi_cluster.cluster.atomic_file import write_bytes
from pi_cluster.cluster.errors import StateError, VersionError

DEFAULT_DATA_DIR = "/var/lib/pi-cluster"

_NAME = "hosts.json"
_VERSION = 1
_MAX_BYTES = 1 << 20


class HostRole(Enum):
    """What a host is for."""

    WORKER = "worker"
    COORDINATOR = "coordinator"


@dataclass(frozen=True, slots=True)
class Host:
    """A computer that SSH reaches. What is None is left to SSH's own configuration."""

    host: str
    user: str | None = None
    port: int | None = None
    key: str | None = None
    threads: int | None = None
    """Of the kernels; None takes all cores."""
    memory_bytes: int | None = None
    """That the worker may use; None sets no limit."""
    data_dir: str = DEFAULT_DATA_DIR
    """The node's own folder, called after the cluster, is made in here."""
    role: HostRole = HostRole.WORKER

    @property
    def label(self) -> str:
        """Its name, as messages have it."""
        return self.host

    @property
    def destination(self) -> str:
        """``user@host``, as SSH takes it."""
        return f"{self.user}@{self.host}" if self.user else self.host


@dataclass(frozen=True, slots=True)
class KnownHost:
    """A host on which something was installed, or was about to be."""

    host: Host
    address: str = ""
    """``host:port`` of its worker; empty until it was ready."""
    node_id: str = ""


def load_hosts(cluster: str) -> list[KnownHost]:
    """The hosts of a cluster, in the order in which they were named.

    Raises ``StateError`` naming the file when it cannot be read.
    """
    path = settings.cluster_state(cluster) / _NAME
    if not path.exists():
        return []
    try:
        with path.open("rb") as file:
            values = json.loads(file.read(_MAX_BYTES))
        if values["version"] > _VERSION:
            raise VersionError(f"{path} was written by a newer pi-cluster: update this one")
        return [_known(entry) for entry in values["hosts"]]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise StateError(
            f"{path} cannot be read ({error}): remove it, and name the hosts with --hosts again"
        ) from None


def save_hosts(folder: Path, known: Sequence[KnownHost]) -> None:
    """Remember hosts instead of those before; none removes the file."""
    if not known:
        (folder / _NAME).unlink(missing_ok=True)
        return
    entries = [
        asdict(one) | {"host": asdict(one.host) | {"role": one.host.role.value}} for one in known
    ]
    values = {"version": _VERSION, "hosts": entries}
    write_bytes(folder / _NAME, json.dumps(values, indent=1).encode() + b"\n")


def merged(before: Sequence[KnownHost], now: Sequence[KnownHost]) -> list[KnownHost]:
    """What is known after a run over some hosts: the others stay as they were."""
    renewed = {_key(one): one for one in now}
    kept = [renewed.pop(_key(one), one) for one in before]
    return [*kept, *renewed.values()]


def _key(known: KnownHost) -> tuple[str, int | None]:
    return known.host.host.lower(), known.host.port


def _known(entry: dict[str, Any]) -> KnownHost:
    values = entry["host"]
    host = Host(**(values | {"role": HostRole(values["role"])}))
    return KnownHost(host, str(entry["address"]), str(entry["node_id"]))
