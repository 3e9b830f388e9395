"""From a store and some nodes to a pipeline that is ready: plan, load, try."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from pi_cluster.cluster import settings
from pi_cluster.cluster.errors import ClusterError, NodeError, PipelineBusy
from pi_cluster.cluster.layer_range import LayerRange
from pi_cluster.cluster.store.manifest import Manifest
from pi_cluster.cluster.store.store import Store
from pi_cluster.cluster.wire.addresses import for_others
from pi_cluster.cluster.wire.attended import attended
from pi_cluster.cluster.wire.client import NodeClient
from pi_cluster.cluster.wire.dialing import Dialer
from pi_cluster.cluster.wire.load_request import load_request
from pi_cluster.cluster.wire.peer import Peer
from pi_cluster.coordinator.patience import DEFAULT_WAIT_S, Patience
from pi_cluster.coordinator.pipeline.measuring import Measuring, Planner
from pi_cluster.coordinator.pipeline.nodes import Node
from pi_cluster.coordinator.planning.footprint import model_footprint
from pi_cluster.coordinator.planning.objective import Objective
from pi_cluster.coordinator.planning.plan import Plan, PlannedStage
from pi_cluster.coordinator.planning.prediction import Prediction
from pi_cluster.coordinator.planning.standby import Copies, layer_files
from pi_cluster.coordinator.records.pipeline_record import PipelineRecord, RecordedStage
from pi_cluster.coordinator.records.recorded_draft import RecordedDraft
from pi_cluster.coordinator.records.up_call import UpCall
from pi_cluster.coordinator.session import Session
from pi_cluster.coordinator.stage_address import StageAddress
from pi_cluster.coordinator.steps import StepChunk
from pi_cluster.transformer.config_form import read_config
from pi_cluster.transformer.limits import Limits


@dataclass(frozen=True, slots=True)
class Rollout:
    """A plan, with the nodes it is for."""

    manifest: Manifest
    store: Store | None
    """None where it is not on this machine, and nodes have it from each other alone."""
    limits: Limits
    objective: Objective
    plan: Plan
    prediction: Prediction
    nodes: dict[str, Node]
    """By node id."""
    dialer: Dialer
    copies: tuple[Copies, ...] = ()
    """What nodes keep for the layers of others."""

    def node(self, stage: PlannedStage) -> Node:
        """Where a stage goes."""
        return self.nodes[stage.node_id]


def make_rollout(
    store: Store,
    nodes: Sequence[Node],
    limits: Limits,
    previous: PipelineRecord | None,
    objective: Objective,
    dialer: Dialer,
    measuring: Measuring = nullcontext,
    draft: RecordedDraft | None = None,
) -> Rollout:
    """Measure these nodes, unless that was done before, and plan a store for them.

    A pipeline that already serves this store from exactly these nodes for the same objective,
    beside the same draft model, keeps its plan: free memory moves a little all the time, and layers
    should not move with it.
    """
    manifest = store.manifest
    config = read_config(manifest.config)
    by_id = {node.about.node_id: node for node in nodes}
    if (
        previous
        and previous.objective == objective
        and not _shares_otherwise(previous.draft, draft, nodes)
        and _still_serves(previous, manifest, limits, by_id)
    ):
        stages = tuple(
            PlannedStage(s.where.node_id, s.where.layers, s.weight_bytes, s.memory_bytes)
            for s in previous.stages
        )
        plan = Plan(stages, previous.unused)
        return Rollout(manifest, store, limits, objective, plan, previous.prediction, by_id, dialer)
    footprint = model_footprint(manifest, config, limits)
    placed = draft.placed if draft else None
    planned = Planner(footprint, nodes, dialer, measuring, placed).plan(objective)
    return Rollout(
        *(manifest, store, limits, objective, planned.plan, planned.prediction),
        *(by_id, dialer),
    )


def is_running(rollout: Rollout, previous: PipelineRecord | None) -> bool:
    """Whether every node already serves what the plan gives it, in one epoch and these limits."""
    if (
        previous is None
        or previous.manifest.digest != rollout.manifest.digest
        or previous.limits != rollout.limits
    ):
        return False
    wanted = [(s.node_id, s.layers) for s in rollout.plan.stages]
    recorded = [(s.node_id, s.layers) for s in previous.addresses]
    # A node that has moved has to be told to the one before it.
    return (
        wanted == recorded
        and all(
            rollout.node(planned).address in stage.peer.addresses
            for planned, stage in zip(rollout.plan.stages, previous.addresses, strict=True)
        )
        and all(
            _serves(rollout.node(stage), previous.epoch, previous.manifest, stage.layers)
            for stage in rollout.plan.stages
        )
    )


def next_epoch(rollout: Rollout, previous: PipelineRecord | None) -> int:
    """One that neither the nodes nor the record have had.

    After `down` nobody here knows the last one. Other machines may, and take for new only what is
    later: so a cluster begins by the clock, in seconds, not by 1. Raises ``NodeError`` for a node
    behind whose epoch none can come.
    """
    for node in rollout.nodes.values():
        if node.about.stage.epoch >= settings.MAX_EPOCH:
            raise NodeError(
                f"{node.label} serves an epoch that no pipeline reaches: restart its worker, and "
                "if that does not help, remove the node"
            )
    epochs = [node.about.stage.epoch for node in rollout.nodes.values()]
    return 1 + max(*epochs, previous.epoch if previous else int(time.time()))


def load_stages(rollout: Rollout, epoch: int) -> None:
    """Load every stage under an epoch, which is that of :func:`next_epoch`."""
    with ThreadPoolExecutor(max_workers=len(rollout.plan.stages)) as pool:
        loads = [
            pool.submit(load_stage, rollout, index, epoch)
            for index in range(len(rollout.plan.stages))
        ]
    for one in loads:
        one.result()


def load_stage(rollout: Rollout, index: int, epoch: int) -> None:
    """Load one stage of the plan; returns when its node is ready for steps."""
    stages = rollout.plan.stages
    node = rollout.node(stages[index])
    is_last = index == len(stages) - 1
    others = [one for one in rollout.nodes.values() if one is not node]
    request = load_request(
        epoch,
        rollout.manifest,
        stages[index].layers,
        rollout.limits,
        following=None if is_last else _as_told(rollout.node(stages[index + 1])),
        previous_node_id=stages[index - 1].node_id if index else "",
        neighbours=[_as_told(one) for one in others[: settings.MOST_NEIGHBOURS]],
        standby_sha256=_standby_sha256(rollout, node),
    )
    with attended(node.peer, rollout.dialer) as client:
        client.load_stage(request)


def _standby_sha256(rollout: Rollout, node: Node) -> list[str]:
    files = layer_files(rollout.manifest)
    mine = (one.layers for one in rollout.copies if one.node_id == node.about.node_id)
    return [files[layer].sha256 for layers in mine for layer in layers]


def _as_told(node: Node) -> Peer:
    """A node as others are told of it."""
    addresses = for_others(node.peer.addresses)
    return Peer(addresses[0], node.about.node_id, node.about.name, others=tuple(addresses[1:]))


def try_pipeline(
    record: PipelineRecord, dialer: Dialer, on_notice: Callable[[str], None] | None = None
) -> None:
    """Send one token through all stages, which shows that each can reach the next.

    ``on_notice`` is told, in sentences, whom it waits for.
    """
    patience = Patience(
        DEFAULT_WAIT_S, ", or end it there, then run the same command again", on_notice
    )
    while True:
        try:
            with Session(
                *(record.addresses, record.epoch, record.model.vocab_size, dialer), on_notice
            ) as session:
                session.submit([StepChunk(0, 0, [record.manifest.bos_id or 0])])
                session.next_result()
            return
        except PipelineBusy as busy:
            time.sleep(patience.after(busy))


def unload_left_out(rollout: Rollout, previous: PipelineRecord | None) -> list[str]:
    """Let nodes of the previous pipeline go that have no part in this one; returns warnings."""
    if previous is None:
        return []
    used = {stage.node_id for stage in rollout.plan.stages}
    warnings = []
    for stage in (old for old in previous.addresses if old.node_id not in used):
        try:
            with NodeClient(stage.peer, rollout.dialer) as client:
                client.unload_stage(previous.epoch)
        except ClusterError as error:
            warnings.append(f"{stage.name} may still hold its old stage: {error}")
    return warnings


def recorded(
    rollout: Rollout,
    epoch: int,
    folder: Path,
    insecure: bool = False,
    call: UpCall | None = None,
) -> PipelineRecord:
    """The record of a pipeline that is loaded, or is to be."""
    stages = []
    for stage in rollout.plan.stages:
        node = rollout.node(stage)
        name, address = node.about.name, node.address
        where = StageAddress(stage.node_id, name, address, stage.layers, node.others)
        stages.append(RecordedStage(where, stage.weight_bytes, stage.memory_bytes))
    return PipelineRecord(
        folder=folder,
        epoch=epoch,
        manifest=rollout.manifest,
        limits=rollout.limits,
        objective=rollout.objective,
        prediction=rollout.prediction,
        stages=tuple(stages),
        unused=rollout.plan.unused,
        insecure=insecure,
        call=call,
        store=str(rollout.store.path.absolute()) if rollout.store else "",
        copies=rollout.copies,
    )


def _still_serves(
    previous: PipelineRecord, manifest: Manifest, limits: Limits, nodes: dict[str, Node]
) -> bool:
    return (
        previous.manifest.digest == manifest.digest
        and previous.limits == limits
        and {*previous.unused, *(s.node_id for s in previous.addresses)} == nodes.keys()
    )


def _shares_otherwise(
    before: RecordedDraft | None, now: RecordedDraft | None, nodes: Sequence[Node]
) -> bool:
    """Whether a node shares its machine with another draft model than before."""
    machines = {node.about.machine_id for node in nodes}
    sharing = [one.digest for one in (before, now) if one and one.placed.machine_id in machines]
    return bool(sharing) and (before is None or now is None or before.digest != now.digest)


def _serves(node: Node, epoch: int, manifest: Manifest, layers: LayerRange) -> bool:
    status = node.about.stage
    return (
        node.about.HasField("stage")
        and status.epoch == epoch
        and status.store_digest == manifest.digest
        and (status.layers.start, status.layers.stop) == (layers.start, layers.stop)
    )
