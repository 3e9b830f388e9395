"""What a worker served last, so that a Pi that was switched off comes back with its stage."""

import logging
from pathlib import Path

from google.protobuf.message import DecodeError

from pi_cluster.cluster.atomic_file import sync_folder, write_bytes
from pi_cluster.cluster.errors import ClusterError, StoreError
from pi_cluster.cluster.small_file import read_small
from pi_cluster.cluster.store.manifest import MAX_MANIFEST_BYTES
from pi_cluster.protos import pi_cluster_pb2 as pb
from pi_cluster.worker.stage.assignment import Assignment, assignment_of, request_for

log = logging.getLogger(__name__)

_FILE_NAME = "stage.pb"
_MAX_BYTES = MAX_MANIFEST_BYTES + 10_000


class LastAssignment:
    """One file in the data directory: a ``LoadStageRequest``."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / _FILE_NAME

    def keep(self, assignment: Assignment) -> None:
        """Remember what is served now. A disk that fails costs the memory, not the stage."""
        try:
            write_bytes(self._path, request_for(assignment).SerializeToString())
        except StoreError as error:
            log.warning("the stage will not be back after a restart: %s", error)

    def read(self) -> Assignment | None:
        """What was served; None when that was nothing, or cannot be read."""
        try:
            data = read_small(self._path, _MAX_BYTES)
            return assignment_of(pb.LoadStageRequest.FromString(data))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, DecodeError, ClusterError) as error:
            log.warning("%s cannot be used, starting empty: %s", self._path, error)
            return None

    def forget(self) -> None:
        """Remember nothing, also after a power cut."""
        try:
            self._path.unlink()
        except FileNotFoundError:
            return
        sync_folder(self._path.parent)
