"""Who this node is: an id and a measured profile that survive restarts."""

import secrets
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pi_cluster.cluster.json_file import JsonFile
from pi_cluster.cluster.speed import NodeProfile, Speed

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

    Raises as ``JsonFile.read`` does.
    """
    identity = _file(data_dir).read(_from_json)
    if identity is None:
        identity = NodeFile(secrets.token_hex(6))
        save_identity(data_dir, identity)
    return identity


def save_identity(data_dir: Path, identity: NodeFile) -> None:
    """Keep an identity, replacing the one before."""
    values = {name: value for name, value in asdict(identity).items() if value is not None}
    _file(data_dir).write(values)


def forget_identity(data_dir: Path) -> None:
    """Let this node be another one from its next start on."""
    _file(data_dir).remove()


def _file(data_dir: Path) -> JsonFile:
    next_step = "remove it, and this node starts with a new identity"
    return JsonFile(data_dir / "node.json", next_step, most_bytes=_MAX_BYTES)


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
