"""A pipeline as its own nodes tell of it, against what is remembered. Pure.

Every stage tells its epoch, store, layers and limits, and which nodes stand beside it. So whoever
has the store's manifest and one right address finds the whole pipeline again.
"""

import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import astuple, replace

from pi_cluster.cluster import settings
from pi_cluster.cluster.discovery.sightings import MOST_NODES
from pi_cluster.cluster.errors import ClusterError
from pi_cluster.cluster.layer_range import LayerRange
from pi_cluster.cluster.speed import Link, NodeProfile, Speed
from pi_cluster.cluster.wire.addresses import as_seen_from
from pi_cluster.cluster.wire.interfaces import Interface
from pi_cluster.cluster.wire.peer import Peer, told_peer
from pi_cluster.coordinator.healing.way import as_it_was
from pi_cluster.coordinator.pipeline.measuring import capacities
from pi_cluster.coordinator.pipeline.nodes import Node
from pi_cluster.coordinator.planning.costs import ModelFootprint
from pi_cluster.coordinator.planning.footprint import model_footprint
from pi_cluster.coordinator.planning.plan import Plan, PlannedStage
from pi_cluster.coordinator.planning.prediction import Prediction, predict
from pi_cluster.coordinator.planning.standby import still_standing_by
from pi_cluster.coordinator.records.pipeline_record import PipelineRecord, RecordedStage
from pi_cluster.coordinator.stage_address import StageAddress
from pi_cluster.transformer.config_form import read_config
from pi_cluster.transformer.limits import Limits

_LINK_BYTES_PS = 12.5e6  # what links carry is not told: as little as a Pi's slowest cable does


def followed(record: PipelineRecord, nodes: Iterable[Node]) -> PipelineRecord | None:
    """The record of the pipeline of the same store that has taken a recorded one's place.

    It is the latest of which ``nodes`` hold every layer, each stage leading to the next one under
    the same limits. None where they tell of none later than the record's.
    """
    later = [node for node in nodes if _is_later(node, record)]
    for epoch in sorted({node.about.stage.epoch for node in later}, reverse=True):
        stages = [node for node in later if node.about.stage.epoch == epoch]
        whole = _whole(stages, record.manifest.n_layers)
        if whole:
            return _record(record, epoch, whole)
    return None


def is_being_replaced(record: PipelineRecord, nodes: Iterable[Node]) -> bool:
    """Whether some hold a later pipeline of the same store, and all together none that is whole.

    Another machine is then about to load it, or broke off while it was.
    """
    found = list(nodes)
    return followed(record, found) is None and any(_is_later(node, record) for node in found)


def told_peers(nodes: Iterable[Node], ours: Sequence[Interface]) -> list[Peer]:
    """The nodes beside these in their pipelines, as they tell of them, each once.

    ``ours`` are the interfaces of this machine, from which they are to be reached.
    """
    told: dict[str, Peer] = {}
    for one in (one for node in nodes for one in node.about.stage.neighbours):
        # Another node's word: what is no address is nothing to call.
        with contextlib.suppress(ClusterError):
            peer = told_peer(one.address, one.other_addresses, one.node_id, one.name)
            if one.node_id and len(told) < MOST_NODES:
                told.setdefault(one.node_id, as_seen_from(peer, ours))
    return list(told.values())


def _is_later(node: Node, record: PipelineRecord) -> bool:
    about, stage = node.about, node.about.stage
    return (
        about.HasField("stage")
        and about.cluster == record.folder.name
        and stage.store_digest == record.manifest.digest
        and record.epoch < stage.epoch < settings.MAX_EPOCH
        and stage.layers.start < stage.layers.stop <= record.manifest.n_layers
        and all(astuple(_limits(node)))  # with room for nothing it could not be asked
    )


def _whole(nodes: Sequence[Node], n_layers: int) -> list[Node] | None:
    """These in the order of their pipeline; None where layers are missing, or given twice."""
    by_id = {node.about.node_id: node for node in nodes}
    firsts = [node for node in nodes if node.about.stage.layers.start == 0]
    chains = [found for first in firsts if (found := _from(first, by_id, n_layers))]
    return chains[0] if len(chains) == 1 else None


def _from(first: Node, by_id: dict[str, Node], n_layers: int) -> list[Node] | None:
    chain = [first]
    while (before := chain[-1].about.stage).layers.stop < n_layers:
        following = by_id.get(before.next_node_id)
        if following is None or not _follows(chain[-1], following):
            return None
        chain.append(following)
    return chain


def _follows(before: Node, after: Node) -> bool:
    one, two = before.about.stage, after.about.stage
    return (
        two.layers.start == one.layers.stop
        and two.previous_node_id in ("", before.about.node_id)
        and _limits(before) == _limits(after)
    )


def _limits(node: Node) -> Limits:
    stage = node.about.stage
    return Limits(
        stage.max_step_rows, stage.max_sequences, stage.context, int(stage.cache_positions)
    )


def _record(before: PipelineRecord, epoch: int, chain: Sequence[Node]) -> PipelineRecord:
    limits = _limits(chain[0])
    footprint = model_footprint(before.manifest, read_config(before.manifest.config), limits)
    addresses = [_address(node) for node in chain]
    stages = tuple(
        RecordedStage(where, footprint.weight_bytes(layers), footprint.memory_bytes(layers))
        for where in addresses
        for layers in [where.layers]
    )
    used = {where.node_id for where in addresses}
    known = dict.fromkeys([*(where.node_id for where in before.addresses), *before.unused])
    told = replace(
        before,
        epoch=epoch,
        limits=limits,
        stages=stages,
        unused=tuple(node_id for node_id in known if node_id not in used),
        prediction=_prediction(before, footprint, stages, chain),
    )
    plan, n_layers = as_it_was(told).plan, before.manifest.n_layers
    told = replace(told, copies=still_standing_by(before.copies, plan, n_layers))
    return told.in_place_of(before)


def _address(node: Node) -> StageAddress:
    about, layers = node.about, node.about.stage.layers
    return StageAddress(
        about.node_id, about.name, node.address, LayerRange(layers.start, layers.stop), node.others
    )


def _prediction(
    before: PipelineRecord,
    footprint: ModelFootprint,
    stages: Sequence[RecordedStage],
    nodes: Sequence[Node],
) -> Prediction:
    """What the nodes will reach by the speeds that they tell, over links like the slowest before.

    A coordinator may not have nodes measured. One that tells no speed, since it has been given
    other threads, is taken to be like the slowest of before.
    """
    slowest = max(before.prediction.links_s)
    known = capacities(
        nodes,
        [_profile(node) or _slowest(before, footprint) for node in nodes],
        [Link(slowest, _LINK_BYTES_PS)] * len(nodes),
    )
    plan = Plan(
        tuple(
            PlannedStage(s.where.node_id, s.where.layers, s.weight_bytes, s.memory_bytes)
            for s in stages
        )
    )
    by_id = {one.node_id: one for one in known}
    links = [known[0].reach, *(one.reach for one in known)]
    return predict(footprint, plan, by_id, links)


def _profile(node: Node) -> NodeProfile | None:
    told = node.about.speed
    with contextlib.suppress(ValueError):
        return NodeProfile(
            Speed(told.read_bytes_ps, told.macs_ps),
            Speed(told.machine_read_bytes_ps, told.machine_macs_ps),
        )
    return None


def _slowest(before: PipelineRecord, footprint: ModelFootprint) -> NodeProfile:
    """A node on which a row takes as long as on the slowest of before, by its bytes."""
    pairs = zip(before.stages, before.prediction.stage_s, strict=True)
    read_bytes_ps, macs_ps = min(
        (footprint.cost(s.where.layers).weight_bytes / t, footprint.cost(s.where.layers).macs / t)
        for s, t in pairs
    )
    speed = Speed(read_bytes_ps, macs_ps)
    return NodeProfile(speed, speed)
