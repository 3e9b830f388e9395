"""A stage that was withdrawn for want of a shard: gets that from another node, and serves again."""

import logging
import threading
from collections.abc import Callable
from typing import Self

from pi_cluster.cluster.errors import ClusterError
from pi_cluster.cluster.store.manifest import ShardFile
from pi_cluster.cluster.wire.addresses import as_seen_from
from pi_cluster.cluster.wire.interfaces import own_interfaces
from pi_cluster.cluster.wire.peer import Peer
from pi_cluster.kernels import KernelsError
from pi_cluster.transformer.errors import ModelError
from pi_cluster.worker.shards.transfers import ShardTransfers
from pi_cluster.worker.shards.vault import ShardVault
from pi_cluster.worker.stage.host import StageHost

log = logging.getLogger(__name__)


class Mender:
    """Asks the nodes that ``up`` named for what the stage lacks, each once.

    Layers that moved in an earlier plan often lie on another node still. Where none has the shard,
    the next `pi-cluster up` sends it. The end of the ``with`` block breaks off what is under way.
    """

    def __init__(self, host: StageHost, vault: ShardVault, transfers: ShardTransfers) -> None:
        self._host = host
        self._vault = vault
        self._transfers = transfers
        self._lock = threading.Lock()
        self._is_stopped = False
        self._break_off: Callable[[], None] = lambda: None

    def mend(self) -> None:
        """Get what the withdrawn stage lacks, and serve it again if all of it came."""
        assignment = self._host.withdrawn
        if assignment is None:
            return
        files = self._host.files
        held = self._vault.held(file.sha256 for file in files)
        lacking = [file for file in files if file.sha256 not in held]
        if not all(self._get(file, assignment.neighbours) for file in lacking):
            return
        try:
            self._host.restore(assignment)
        except (ClusterError, ModelError, KernelsError) as error:
            log.warning("the stage cannot be loaded again: %s", error)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        with self._lock:
            self._is_stopped = True
            self._break_off()

    def _get(self, file: ShardFile, sources: tuple[Peer, ...]) -> bool:
        interfaces = own_interfaces()
        return any(self._get_from(as_seen_from(one, interfaces), file) for one in sources)

    def _get_from(self, source: Peer, file: ShardFile) -> bool:
        try:
            self._transfers.fetch_from(source, file, self._note)
        except (ClusterError, OSError) as error:
            log.info("%s does not come from there: %s", file.name, error)
            return False
        log.info("%s came from %s", file.name, source.label)
        return True

    def _note(self, break_off: Callable[[], None]) -> bool:
        with self._lock:
            self._break_off = break_off
            return not self._is_stopped
