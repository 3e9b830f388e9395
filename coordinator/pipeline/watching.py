"""Looks at the stages of a pipeline, again and again, and tells how fast they are."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Self

from pi_cluster.cluster import settings
from pi_cluster.cluster.errors import AccessError, ClusterError, VersionError
from pi_cluster.cluster.wire.client import NodeClient
from pi_cluster.cluster.wire.dialing import Dialer
from pi_cluster.cluster.wire.peer import Peer
from pi_cluster.coordinator.records.pipeline_record import PipelineRecord
from pi_cluster.coordinator.stage_address import StageAddress
from pi_cluster.protos import pi_cluster_pb2 as pb

_TRY_NEXT_S = 3.0  # a node gives up after less


@dataclass(frozen=True, slots=True)
class StageLook:
    """What a stage told, or that it did not answer."""

    stage: StageAddress
    state: str
    """``ready``, ``busy``, ``lost``, or what else stands in its place."""
    why: str = ""
    """More of a stage that is not well, where more is known than its state says."""
    about: pb.NodeDescription | None = None
    """None when the node did not answer."""
    rows_ps: float | None = None
    """Positions a second since the look before; None without one to compare with."""

    @property
    def is_well(self) -> bool:
        """Whether the stage serves the pipeline that it belongs to."""
        return self.state in ("ready", "busy")

    @property
    def coordinator(self) -> str:
        """Who holds the stage; empty if nobody."""
        return self.about.stage.coordinator if self.about else ""


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a rate is computed from."""

    epoch: int
    rows: int
    at_s: float


class PipelineWatch:
    """Keeps a connection to each stage, and opens it again after a failure."""

    def __init__(
        self,
        dialer: Dialer,
        why_ended: Callable[[Peer], str | None] | None = None,
        timeout_s: float = settings.CONNECT_TIMEOUT_S,
    ) -> None:
        """``why_ended`` says of a node whose process is known to run no more, where to look."""
        self._dialer = dialer
        self._why_ended = why_ended
        self._timeout_s = timeout_s
        self._clients: dict[StageAddress, NodeClient] = {}
        self._seen: dict[StageAddress, _Seen] = {}

    def look(self, record: PipelineRecord) -> list[StageLook]:
        """Ask all stages at once, in the order of the pipeline."""
        stages = record.addresses
        self._keep(stages)
        with ThreadPoolExecutor(len(stages), "look") as pool:
            looks = list(pool.map(lambda stage: self._one(stage, record), stages))
        return [
            _without_reach(look, following) for look, following in zip_longest(looks, looks[1:])
        ]

    def close(self) -> None:
        """Close all connections."""
        self._keep(())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def _keep(self, stages: Sequence[StageAddress]) -> None:
        """Forget the stages of an earlier pipeline."""
        for stage in self._clients.keys() - set(stages):
            self._clients.pop(stage).close()
            self._seen.pop(stage, None)

    def _one(self, stage: StageAddress, record: PipelineRecord) -> StageLook:
        try:
            if stage not in self._clients:
                self._clients[stage] = NodeClient(stage.peer, self._dialer)
            about = self._clients[stage].describe(self._timeout_s)
        except ClusterError as error:
            # A broken channel would wait longer and longer before it tries again.
            if stage in self._clients:
                self._clients.pop(stage).close()
            self._seen.pop(stage, None)
            return self._silent(stage, error)
        state = _state(about, stage, record)
        # While a session runs, its streams tell both ends whether they reach each other.
        why = self._next_error(stage) if state == "ready" else about.stage_problem
        return StageLook(stage, state, why, about, self._rate(stage, about))

    def _silent(self, stage: StageAddress, error: ClusterError) -> StageLook:
        if self._why_ended and (why := self._why_ended(stage.peer)):
            return StageLook(stage, "not running", why)
        if isinstance(error, AccessError):
            return StageLook(stage, "not trusted", str(error))
        is_other = isinstance(error, VersionError)
        return StageLook(stage, "another version" if is_other else "lost", str(error))

    def _next_error(self, stage: StageAddress) -> str:
        """Why a stage cannot reach the one after it, as it says itself when asked to try."""
        try:
            about = self._clients[stage].describe(_TRY_NEXT_S, try_next=True)
        except ClusterError:
            return ""  # it has just answered; a next node that is frozen speaks for itself
        return about.stage.next_error

    def _rate(self, stage: StageAddress, about: pb.NodeDescription) -> float | None:
        before = self._seen.get(stage)
        now = _Seen(about.stage.epoch, about.stage.rows, time.monotonic())
        self._seen[stage] = now
        if before is None or before.epoch != now.epoch or before.rows > now.rows:
            return None
        return (now.rows - before.rows) / max(now.at_s - before.at_s, 1e-3)


def _without_reach(look: StageLook, following: StageLook | None) -> StageLook:
    """A look at a stage that cannot reach the next one, if that one is well itself."""
    if not look.why or look.state != "ready":
        return look
    if following is None or not following.is_well:
        return replace(look, why="")
    why = f"it cannot reach {following.stage.peer.label}: {look.why}"
    return replace(look, state="cannot reach the next", why=why)


def _state(about: pb.NodeDescription, stage: StageAddress, record: PipelineRecord) -> str:
    if about.node_id != stage.node_id:
        return "another node answers here"
    if not about.HasField("stage"):
        return "nothing loaded"
    if about.stage.epoch != record.epoch:
        return "replaced by another up"
    return "busy" if about.stage.coordinator else "ready"
