"""Who this node is: an id and a measured profile that survive restarts."""

import json
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pi_cluster.cluster.atomic_file import write_bytes
from pi_cluster.cluster.errors import StateError
from pi_cluster.cluster.speed import NodeProfile, Speed
from pi_cluster.cluster.system_failure import system_failure

_FILE_NAME = "node.json"
_MAX_BYTES = 10_000


@dataclass(frozen=True, slots=True)
class MeasuredWith:
    """What a profile depends on; with other kernels or threads it says nothing."""

    kernels: str
    threads: int


@dataclass(frozen=True, slots=True)
class NodeFile:
    """What a node keeps about itself in its data directory."""

    node_id: str
    profile: NodeProfile | None = None
    """Measured once: a plan should not change with the weather."""
    measured_with: MeasuredWith | None = None


def load_identity(data_dir: Path) -> NodeFile:
    """Read this node's identity, or make it on the first start.

    Raises ``StateError`` naming the file when it is torn, ``SystemFailure`` when the disk fails.
    """
    path = data_dir / _FILE_NAME
    if not path.exists():
        identity = NodeFile(secrets.token_hex(6))
        save_identity(data_dir, identity)
        return identity
    try:
        with path.open("rb") as file:
            return _from_json(json.loads(file.read(_MAX_BYTES)))
    except OSError as error:
        raise system_failure(error, what=path) from None
    except (ValueError, TypeError, KeyError) as error:
        raise StateError(
            f"{path} cannot be read ({error}): remove it, and this node starts with a new identity"
        ) from None


def save_identity(data_dir: Path, identity: NodeFile) -> None:
    """Keep an identity, replacing the one before."""
    values = {name: value for name, value in asdict(identity).items() if value is not None}
    write_bytes(data_dir / _FILE_NAME, json.dumps(values, indent=1).encode() + b"\n")


def forget_identity(data_dir: Path) -> None:
    """Let this node be another one from its next start on."""
    (data_dir / _FILE_NAME).unlink(missing_ok=True)


def _from_json(values: dict[str, Any]) -> NodeFile:
    node_id = values["node_id"]
    if not (isinstance(node_id, str) and node_id.isalnum()):
        raise ValueError("node_id")
    if "profile" not in values:
        return NodeFile(node_id)
    profile = values["profile"]
    return NodeFile(
        node_id,
        NodeProfile(Speed(**profile["alone"]), Speed(**profile["machine"])),
        MeasuredWith(**values["measured_with"]),
    )
