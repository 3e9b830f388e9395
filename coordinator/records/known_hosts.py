"""What `up --hosts` remembers of the hosts that it set up: `hosts.json` in the cluster's folder."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from pi_cluster.cluster import settings
from pi_cluster.cluster.json_file import JsonFile

DEFAULT_DATA_DIR = "/var/lib/pi-cluster"

_VERSION = 1


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

    Raises as ``JsonFile.read`` does.
    """
    file = _file(settings.cluster_state(cluster))
    return file.read(lambda values: [_known(entry) for entry in values["hosts"]]) or []


def save_hosts(folder: Path, known: Sequence[KnownHost]) -> None:
    """Remember hosts instead of those before; none removes the file."""
    if not known:
        _file(folder).remove()
        return
    entries = [
        asdict(one) | {"host": asdict(one.host) | {"role": one.host.role.value}} for one in known
    ]
    _file(folder).write({"hosts": entries})


def merged(before: Sequence[KnownHost], now: Sequence[KnownHost]) -> list[KnownHost]:
    """What is known after a run over some hosts: the others stay as they were."""
    renewed = {_key(one): one for one in now}
    kept = [renewed.pop(_key(one), one) for one in before]
    return [*kept, *renewed.values()]


def _file(folder: Path) -> JsonFile:
    next_step = "remove it, and name the hosts with --hosts again"
    return JsonFile(folder / "hosts.json", next_step, _VERSION)


def _key(known: KnownHost) -> tuple[str, int | None]:
    return known.host.host.lower(), known.host.port


def _known(entry: dict[str, Any]) -> KnownHost:
    values = entry["host"]
    host = Host(**(values | {"role": HostRole(values["role"])}))
    return KnownHost(host, str(entry["address"]), str(entry["node_id"]))
