"""What a worker serves: it loads a stage, brings it back after a start, lets go of it, restores it.

Sessions pass through it by ``sessions.py``; ``state.py`` draws the states of both.
"""

import contextlib
import logging
from collections.abc import Callable, Iterator

from pi_cluster.cluster.errors import ClusterError, StoreError
from pi_cluster.cluster.layer_range import LayerRange
from pi_cluster.cluster.log_fields import LogFields
from pi_cluster.cluster.store.manifest import Manifest, ShardFile
from pi_cluster.cluster.wire.dialing import Dialer
from pi_cluster.cluster.wire.load_request import neighbour
from pi_cluster.cluster.wire.peer import Peer
from pi_cluster.kernels import KernelsError
from pi_cluster.protos import pi_cluster_pb2 as pb
from pi_cluster.transformer.errors import ModelError
from pi_cluster.transformer.limits import Limits
from pi_cluster.worker.allocator import return_free_pages
from pi_cluster.worker.shards.comparison import set_aside_if_damaged
from pi_cluster.worker.shards.damaged import DamagedShard
from pi_cluster.worker.shards.vault import ShardVault
from pi_cluster.worker.stage.assignment import Assignment
from pi_cluster.worker.stage.last_assignment import LastAssignment
from pi_cluster.worker.stage.loading import LoadedStage
from pi_cluster.worker.stage.next_node import why_unreachable
from pi_cluster.worker.stage.sessions import Sessions
from pi_cluster.worker.stage.state import Loaded, StageState, Withdrawn

log = logging.getLogger(__name__)

Load = Callable[[Manifest, LayerRange, Limits], LoadedStage]
"""How layers of a store become a stage."""


class StageHost:
    """Holds at most one stage, and keeps vault, disk and state of one mind about it.

    What is loaded is what the vault must not remove and what the next start brings back. All that
    changes while it runs, and the lock for it, are in its `StageState`.
    """

    def __init__(
        self,
        vault: ShardVault,
        load: Load,
        dialer: Dialer,
        last: LastAssignment | None = None,
        name: str = "this node",
    ) -> None:
        """``last`` keeps what is served for the next start; None forgets it. ``name`` is ours."""
        self._name = name
        self._vault = vault
        self._last = last
        self._dialer = dialer
        self._load = load
        self._state = StageState()
        self.sessions = Sessions(self._state, dialer)

    def load(self, assignment: Assignment) -> int:
        """Replace what is served; returns the bytes of mapped weights.

        A running session ends with ``StaleEpoch``. When loading fails, nothing is served. Raises
        ``StaleEpoch`` when another assignment of this epoch is served, or one of a later epoch.
        """
        known = self._state.content
        if isinstance(known, Loaded) and known.assignment == assignment:
            return known.stage.weight_bytes  # two machines have mended it alike, at once
        with self._replacing(assignment.epoch, assignment):
            loaded = self._serve(assignment)
            self._vault.prune({file.sha256 for file in assignment.manifest.files})
        return_free_pages()
        return loaded.weight_bytes

    def reload(self) -> None:
        """Serve again what was served before the last start, if it still can be.

        For want of a shard it is withdrawn, and loaded once that has come (:meth:`restore`). Shards
        of other stores stay: they may be those of the next one, broken off on their way.
        """
        assignment = self._last.read() if self._last else None
        if assignment is None:
            return
        try:
            with self._replacing(assignment.epoch):
                self._serve(assignment)
        except StoreError as error:
            log.warning("a shard of the stage from before is not fit, starting empty: %s", error)
            reason = f"{self._name}: {error}"
            self._state.lack(Withdrawn(assignment, _files(assignment), reason))
            if self._last:
                self._last.keep(assignment)
        except (ClusterError, ModelError, KernelsError, OSError) as error:
            log.warning("the stage from before cannot be loaded, starting empty: %s", error)
        return_free_pages()

    def unload(self, epoch: int) -> None:
        """Let go of the stage unless a newer epoch is served."""
        with self._replacing(epoch):
            self._vault.serve(())
        log.info("epoch %d: unloaded", epoch, extra=LogFields(epoch=epoch))

    def withdraw(self, damaged: DamagedShard) -> None:
        """Let go of the stage if it maps a shard that was set aside; nothing computes on it then.

        The running session ends with the reason, and those that would follow are refused with it.
        """
        reason = (
            f"{damaged.label} on {self._name} is damaged, it {damaged.problem}: "
            "the next `up` sends it again"
        )
        assignment = self._state.withdraw(damaged.digest, reason)
        if assignment:
            about = LogFields(epoch=assignment.epoch)
            log.error("epoch %d: %s", assignment.epoch, reason, extra=about)

    def restore(self, assignment: Assignment) -> bool:
        """Serve what was withdrawn, now that its shards are here; whether it still was to be.

        Raises ``StoreError`` when they are not.
        """
        with self._state.mending(assignment) as is_wanted:
            if is_wanted:
                self._serve(assignment)
            return is_wanted

    @property
    def files(self) -> tuple[ShardFile, ...]:
        """The shards that the stage maps, or would: the same object until another one is loaded."""
        known = self._state.content
        return known.files if known else ()

    @property
    def shard_names(self) -> dict[str, str]:
        """What the store that is or should be served calls its shards, by digest."""
        known = self._state.content
        return {f.sha256: f.name for f in known.assignment.manifest.files} if known else {}

    @property
    def withdrawn(self) -> Assignment | None:
        """What should be served, and cannot be for want of a shard."""
        known = self._state.content
        return known.assignment if isinstance(known, Withdrawn) else None

    @property
    def problem(self) -> str:
        """Why the stage that should be served is not; empty otherwise."""
        known = self._state.content
        return known.reason if isinstance(known, Withdrawn) else ""

    @property
    def weight_bytes(self) -> int:
        """Of the mapped weights of the stage that is served; 0 without one."""
        known = self._state.content
        return known.stage.weight_bytes if isinstance(known, Loaded) else 0

    def status(self) -> pb.StageStatus | None:
        """What is served now, or None."""
        now = self._state.glance()
        if now is None:
            return None
        assignment, loaded = now.loaded.assignment, now.loaded.stage
        return pb.StageStatus(
            epoch=assignment.epoch,
            store_digest=assignment.manifest.digest,
            layers=pb.LayerRange(start=assignment.layers.start, stop=assignment.layers.stop),
            sequences=loaded.stage.sequences,
            weight_bytes=loaded.weight_bytes,
            cache_bytes=loaded.stage.cache_bytes,
            steps=now.steps,
            coordinator=now.coordinator,
            verified_ago_s=self._vault.verified_ago_s(file.sha256 for file in now.loaded.files),
            rows=now.rows,
            max_step_rows=assignment.limits.max_step_rows,
            max_sequences=assignment.limits.max_sequences,
            context=assignment.limits.context,
            cache_positions=assignment.limits.cache_positions,
            next_node_id=assignment.following.node_id if assignment.following else "",
            previous_node_id=assignment.previous_node_id,
            neighbours=map(neighbour, _beside(assignment)),
        )

    def try_next(self) -> str:
        """Why the node that follows in the pipeline cannot be called; empty if it can."""
        known = self._state.content
        following = known.assignment.following if isinstance(known, Loaded) else None
        return why_unreachable(following, self._dialer) if following else ""

    @contextlib.contextmanager
    def _replacing(self, epoch: int, wanted: Assignment | None = None) -> Iterator[None]:
        with self._state.replacing(epoch, wanted):
            if self._last:
                # Before loading: a stage that ends the process must not do so at every start.
                self._last.forget()
            yield

    def _serve(self, assignment: Assignment) -> LoadedStage:
        files = _files(assignment)
        for file in files:  # a card may have lost bits since, and no wrong token may leave
            set_aside_if_damaged(self._vault, file)
        self._vault.check_sound(files)
        loaded = self._load(assignment.manifest, assignment.layers, assignment.limits)
        # It may have been found damaged while it was loaded.
        self._state.put(Loaded(assignment, loaded, files), self._vault.check_sound)
        self._vault.serve((file.sha256 for file in files), assignment.standby)
        if self._last:
            self._last.keep(assignment)
        epoch, layers = assignment.epoch, assignment.layers
        log.info("epoch %d: serving layers %s", epoch, layers, extra=LogFields(epoch=epoch))
        return loaded


def _beside(assignment: Assignment) -> list[Peer]:
    """The other nodes of the pipeline that this one was told of."""
    told = [*([assignment.following] if assignment.following else []), *assignment.neighbours]
    return list({one.node_id: one for one in told}.values())


def _files(assignment: Assignment) -> tuple[ShardFile, ...]:
    layers = assignment.layers
    return tuple(assignment.manifest.stage_files(layers.start, layers.stop))
