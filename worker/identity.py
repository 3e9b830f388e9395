"""Who this node is: an id and a measured speed that survive restarts."""

import json
import secrets
from dataclasses import dataclass
from pathlib import Path

from cluster.atomic_file import write_bytes
from cluster.errors import StateError
from worker.machine import measure_read_bandwidth

_FILE_NAME = "node.json"
_MAX_BYTES = 10_000


@dataclass(frozen=True, slots=True)
class Identity:
    """What a node keeps about itself in its data directory."""

    node_id: str
    read_bandwidth: int
    """Bytes per second, one thread. Measured once: a plan should not change with the weather."""


def load_identity(data_dir: Path) -> Identity:
    """Read this node's identity, or make it on the first start.

    Raises ``StateError`` naming the file when it is torn.
    """
    path = data_dir / _FILE_NAME
    if not path.exists():
        identity = Identity(secrets.token_hex(6), measure_read_bandwidth())
        values = {"node_id": identity.node_id, "read_bandwidth": identity.read_bandwidth}
        write_bytes(path, json.dumps(values, indent=1).encode() + b"\n")
        return identity
    try:
        with path.open("rb") as file:
            values = json.loads(file.read(_MAX_BYTES))
        identity = Identity(values["node_id"], values["read_bandwidth"])
        if not (isinstance(identity.node_id, str) and identity.node_id.isalnum()):
            raise ValueError("node_id")
        if not (isinstance(identity.read_bandwidth, int) and identity.read_bandwidth > 0):
            raise ValueError("read_bandwidth")
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise StateError(
            f"{path} cannot be read ({error}): remove it, and this node starts with a new identity"
        ) from None
    return identity
