"""What `join` is taken back by: a data directory without its node."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from pi_cluster.cluster.errors import StateError
from pi_cluster.worker.identity import forget_identity, load_identity
from pi_cluster.worker.presence import find_presence, forget_presence, present
from pi_cluster.worker.shards.shard_folder import shards_folder
from pi_cluster.worker.stage.last_assignment import LastAssignment
from pi_cluster.worker.trust.enrolment import waits_to_join
from pi_cluster.worker.trust.named_shards import NamedShards
from pi_cluster.worker.trust.node_credentials import credentials_folder, is_certified


@dataclass(frozen=True, slots=True)
class Joined:
    """A node that has joined a cluster, or waits to."""

    node_id: str
    """Empty while it waits."""


def find_joined(data_dir: Path) -> Joined | None:
    """Who has joined from a data directory. Raises ``StateError`` when it is torn."""
    if is_certified(data_dir):
        return Joined(load_identity(data_dir).node_id)
    return Joined("") if waits_to_join(data_dir) else None


def forget_node(data_dir: Path) -> None:
    """Remove all that a worker keeps, and the data directory unless something else is in it.

    Raises ``StateError`` while a worker runs there.
    """
    if running := find_presence(data_dir):
        raise StateError(
            f"a worker runs in {data_dir}: end it first, as with `kill {running.process_id}`"
        )
    with present(data_dir):
        LastAssignment(data_dir).forget()
        NamedShards(data_dir).forget()
        if (shards := shards_folder(data_dir)).exists():
            shutil.rmtree(shards)
        forget_identity(data_dir)
        # Last, since by them it is known that there is something to take back.
        shutil.rmtree(credentials_folder(data_dir))
        forget_presence(data_dir)
    if not any(data_dir.iterdir()):
        data_dir.rmdir()
