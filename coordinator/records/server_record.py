"""What this machine remembers of a server that runs here: `server.json`, while it runs.

Whoever wants to ask it goes by its socket, which lies beside. Whether it still runs, the lock of
:class:`LocalDoor <pi_cluster.server.local_door.LocalDoor>` tells: it ends with the process.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pi_cluster.cluster import settings
from pi_cluster.cluster.advice import command
from pi_cluster.cluster.held_lock import is_held
from pi_cluster.cluster.json_file import JsonFile

SOCKET_NAME = "server.sock"
LOCK_NAME = "server.lock"
_RECORD_NAME = "server.json"
_VERSION = 1


@dataclass(frozen=True, slots=True)
class ServerRecord:
    """A server of this machine."""

    pid: int
    url: str
    """Where a browser of this machine finds it."""
    addresses: tuple[str, ...]
    """``HOST:PORT`` of all that it listens on."""
    version: str
    """Of the program."""
    needs_key: bool
    started_unix_s: float


def socket_file(cluster: str) -> Path:
    """Where a server of the cluster listens for this machine's user."""
    return settings.cluster_state(cluster) / SOCKET_NAME


def save_server(cluster: str, record: ServerRecord) -> None:
    """Remember a server."""
    values = asdict(record)
    values["program"] = values.pop("version")  # the file has a version of its own
    _file(cluster).write(values)


def forget_server(cluster: str) -> None:
    """Forget one that has ended."""
    _file(cluster).remove()


def find_server(cluster: str) -> ServerRecord | None:
    """The server that runs here, if one does. Raises as ``JsonFile.read``."""
    return _file(cluster).read(_record) if is_running(cluster) else None


def is_running(cluster: str) -> bool:
    """Whether a server of the cluster runs on this machine."""
    return is_held(settings.cluster_state(cluster) / LOCK_NAME)


def _file(cluster: str) -> JsonFile:
    return JsonFile(
        settings.cluster_state(cluster) / _RECORD_NAME,
        f"end that server and start `{command(cluster, 'serve')}` again",
        _VERSION,
    )


def _record(values: dict[str, Any]) -> ServerRecord:
    return ServerRecord(
        int(values["pid"]),
        str(values["url"]),
        tuple(map(str, values["addresses"])),
        str(values["program"]),
        values["needs_key"] is True,
        float(values["started_unix_s"]),
    )
