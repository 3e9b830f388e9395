"""Hands out shards: what each node lacks, from another node or from here, several at once."""

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from pi_cluster.cluster.errors import (
    ClusterError,
    NodeError,
    NodeLost,
    PipelineClosed,
    ShardChanged,
)
from pi_cluster.cluster.store.manifest import ShardFile
from pi_cluster.cluster.wire.client import NodeClient
from pi_cluster.coordinator.pipeline.receiver import Receiver, TransferProgress
from pi_cluster.coordinator.pipeline.rollout import Rollout
from pi_cluster.coordinator.pipeline.shard_sources import Move, Sources
from pi_cluster.coordinator.planning.standby import layer_files

_Answer = TypeVar("_Answer")

_LOOK_EVERY_S = 0.2  # whether it is to end


@dataclass(frozen=True, slots=True)
class Moved:
    """Bytes that travelled, those that had to travel again among them."""

    from_operator: int = 0
    between_nodes: int = 0


def hand_out_shards(
    rollout: Rollout, progress: TransferProgress, closing: threading.Event | None = None
) -> Moved:
    """Bring each node the shards of its stage that it lacks, to all nodes at once.

    Raises the first node's ``ClusterError``, and ``PipelineClosed`` once ``closing`` is set; what
    the others have received stays with them.
    """
    stages, manifest = rollout.plan.stages, rollout.manifest
    handing = _HandOut(
        rollout,
        {one.node_id: manifest.stage_files(one.layers.start, one.layers.stop) for one in stages},
        progress,
        closing,
    )
    moved = handing.run()
    for failure in handing.failures.values():
        raise failure
    return moved


def hand_out_copies(
    rollout: Rollout, progress: TransferProgress
) -> tuple[Moved, Mapping[str, ClusterError]]:
    """Bring each node what it is to keep for others, and say by node id what came in between.

    Nobody waits for copies: what one node fails to take costs the others nothing.
    """
    files = layer_files(rollout.manifest)
    copies = {one.node_id: [files[layer] for layer in one.layers] for one in rollout.copies}
    handing = _HandOut(rollout, copies, progress)
    return handing.run(), handing.failures


class _HandOut:
    """One hand-out. Each node is served by two threads: one sends from here, one has it fetch."""

    def __init__(
        self,
        rollout: Rollout,
        wanted: Mapping[str, Sequence[ShardFile]],
        progress: TransferProgress,
        closing: threading.Event | None = None,
    ) -> None:
        """``wanted`` are all files that each node is to hold, by node id."""
        self._rollout = rollout
        self._closing = closing
        self._receivers = {
            node_id: Receiver(rollout.nodes[node_id], files, rollout.dialer, progress)
            for node_id, files in wanted.items()
        }
        self._failures: dict[str, ClusterError] = {}
        self._changed = threading.Condition()  # guards the sources and the failures
        self._is_stopped = False
        self._sources = Sources({}, {})

    def run(self) -> Moved:
        held = self._survey()
        lacking = self._prepare()
        self._sources = Sources(lacking, held)
        lanes = (self._send_all, self._fetch_all)
        self._at_once([partial(lane, node_id) for node_id in lacking for lane in lanes])
        receivers = self._receivers.values()
        return Moved(sum(r.sent_bytes for r in receivers), sum(r.fetched_bytes for r in receivers))

    @property
    def failures(self) -> dict[str, ClusterError]:
        """What came in between, by the id of the node that was to have files."""
        failed = (one for one in self._receivers if one in self._failures)
        return {node_id: self._failures[node_id] for node_id in failed}

    def _survey(self) -> dict[str, frozenset[str]]:
        """What each node holds of the store, those without a stage too."""
        files, nodes = self._rollout.manifest.files, self._rollout.nodes

        def ask(node_id: str) -> frozenset[str]:
            try:
                if node_id in self._receivers:
                    return self._receivers[node_id].held_of(files)
                # It could only be a source, for which nobody waits.
                with NodeClient(nodes[node_id].peer, self._rollout.dialer) as client:
                    return client.find_shards(files).held
            except ClusterError as error:
                self._failures[node_id] = error
                return frozenset()

        return dict(zip(nodes, self._at_once([partial(ask, one) for one in nodes]), strict=True))

    def _prepare(self) -> dict[str, Sequence[ShardFile]]:
        """What each node lacks; those that cannot take it are left out."""

        def prepare(node_id: str) -> Sequence[ShardFile]:
            if node_id in self._failures:
                return ()
            try:
                return self._receivers[node_id].prepare()
            except ClusterError as error:
                self._failures[node_id] = error
                return ()

        lacking = self._at_once([partial(prepare, one) for one in self._receivers])
        each = zip(self._receivers, lacking, strict=True)
        return {node_id: files for node_id, files in each if files}

    def _at_once(self, works: Sequence[Callable[[], _Answer]]) -> list[_Answer]:
        """Do all of this at the same time; an end of one, as by Ctrl-C here, ends the others."""
        with ThreadPoolExecutor(max_workers=max(1, len(works))) as pool:
            running = [pool.submit(work) for work in works]
            try:
                while self._closing and wait(running, _LOOK_EVERY_S).not_done:
                    if self._closing.is_set():
                        raise PipelineClosed("this program ended while shards travelled")
                return [one.result() for one in running]
            except BaseException:
                self._stop()
                raise

    def _send_all(self, node_id: str) -> None:
        receiver, store = self._receivers[node_id], self._rollout.store
        while move := self._next(node_id, self._sources.begin_sending):
            try:
                if store is None:
                    raise NodeError(
                        f"no node has {move.file.name} any more, and neither has this machine: "
                        "run `up` where the model is"
                    )
                receiver.send(move.file, store.path_of(move.file))
            except ClusterError as error:
                self._give_up(node_id, error)
            else:
                self._arrived(move)

    def _fetch_all(self, node_id: str) -> None:
        receiver, nodes = self._receivers[node_id], self._rollout.nodes
        while move := self._next(node_id, self._sources.begin_fetch):
            assert move.source_id is not None
            try:
                receiver.fetch(move.file, nodes[move.source_id].peer)
            except NodeLost as error:
                self._give_up(node_id, error)
            except (NodeError, ShardChanged):
                with self._changed:
                    self._sources.source_failed(move)
                    self._changed.notify_all()
            except ClusterError as error:
                self._give_up(node_id, error)
            else:
                self._arrived(move)

    def _next(self, node_id: str, begin: Callable[[str], Move | None]) -> Move | None:
        """What a thread does next, once there is something; None when nothing is left."""
        with self._changed:
            while self._sources.lacks_any(node_id) and not self._is_stopped:
                if move := begin(node_id):
                    return move
                self._changed.wait()
        return None

    def _arrived(self, move: Move) -> None:
        with self._changed:
            self._sources.arrived(move)
            self._changed.notify_all()
            if not self._sources.lacks_any(move.node_id):
                self._receivers[move.node_id].tell_end()

    def _give_up(self, node_id: str, error: ClusterError) -> None:
        with self._changed:
            self._failures.setdefault(node_id, error)
            self._sources.give_up(node_id)
            self._changed.notify_all()

    def _stop(self) -> None:
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()
        for receiver in self._receivers.values():
            receiver.stop()
