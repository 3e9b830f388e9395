"""Which node is to blame for a session that broke off, found by asking all of them."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from pi_cluster.cluster import settings
from pi_cluster.cluster.errors import ClusterError, NodeLost, SessionExpired
from pi_cluster.cluster.wire.client import NodeClient
from pi_cluster.cluster.wire.dialing import Dialer
from pi_cluster.coordinator.silent import stopped
from pi_cluster.coordinator.silent_nodes import Watch
from pi_cluster.coordinator.stage_address import StageAddress
from pi_cluster.coordinator.trouble import listed


def cause_of(
    seen: ClusterError, stages: Sequence[StageAddress], dialer: Dialer, watch: Watch
) -> ClusterError:
    """What a failure of a session comes from; the failure itself where nothing tells more.

    A node that does not answer now has stopped; else this machine may have slept, or a node have
    moved to where the one before it does not look.
    """
    if isinstance(seen, SessionExpired):
        return watch.own_silence() or seen
    if not isinstance(seen, NodeLost):
        return seen
    with ThreadPoolExecutor(max_workers=len(stages)) as pool:
        answered = list(pool.map(lambda stage: _answers(stage, dialer), stages))
    silent = [stage for stage, well in zip(stages, answered, strict=True) if not well]
    if silent:
        return stopped(silent)
    if slept := watch.own_silence():
        return slept
    return _moved(stages, dialer) or (seen if seen.node_ids else watch.recent() or seen)


def more_telling(seen: ClusterError, told: ClusterError) -> ClusterError:
    """Of what both ends say, what the first stage was told, unless that blames ourselves alone."""
    if type(told) is NodeLost and isinstance(seen, NodeLost) and not told.node_ids:
        return seen if seen.node_ids else told
    return told


def _answers(stage: StageAddress, dialer: Dialer) -> bool:
    try:
        with NodeClient(stage.peer, dialer, apart=True) as node:
            node.describe(timeout_s=settings.STOP_GRACE_S)
    except ClusterError:
        return False
    return True


def _moved(stages: Sequence[StageAddress], dialer: Dialer) -> NodeLost | None:
    """That nodes have other addresses than the stages before them were told."""
    moved = [
        (stage, found.address)
        for stage in stages
        if (found := dialer.found(stage.peer)).address not in stage.peer.addresses
    ]
    if not moved:
        return None
    said = [f"{stage.name} was at {stage.address} and is at {now} now" for stage, now in moved]
    return NodeLost(
        f"{', '.join(said)}, and the node before it does not reach it there: `up` tells it",
        in_brief=listed([f"{stage.name} moved to {now}" for stage, now in moved]),
    )
