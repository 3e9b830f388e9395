"""On whose disks copies of layers stand by, so that a plan for who is left moves nothing.

Placed for the plans to come: for each node that may be lost, `plan_again` says who would take its
layers over, and there the copies go. Further copies are placed for two lost at once, and so on.
"""

import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from pi_cluster.cluster.errors import PlanError
from pi_cluster.cluster.layer_range import LayerRange
from pi_cluster.cluster.store.manifest import Manifest, ShardFile
from pi_cluster.coordinator.planning.costs import ModelFootprint
from pi_cluster.coordinator.planning.healing_plan import EMBEDDING, plan_again
from pi_cluster.coordinator.planning.plan import NodeCapacity, Plan

MOST_REPLICAS = 4
"""Of a shard, its own node's among them."""
_MOST_LOSSES = 64  # of as many nodes at once that are looked at


@dataclass(frozen=True, slots=True)
class Copies:
    """What one node keeps for others."""

    node_id: str
    name: str
    layers: tuple[int, ...]
    """In order, with `EMBEDDING` and the number of layers for the head."""


def layer_files(manifest: Manifest) -> dict[int, ShardFile]:
    """The shards of a store by layer, with `EMBEDDING` and the number of layers for the head."""
    files = {EMBEDDING: manifest.embedding_file, manifest.n_layers: manifest.head_file}
    return files | {index: manifest.layer_file(index) for index in range(manifest.n_layers)}


def place_copies(
    footprint: ModelFootprint,
    nodes: Sequence[NodeCapacity],
    plan: Plan,
    replicas: int,
    room_bytes: Mapping[str, int],
    held: Mapping[str, Collection[int]],
) -> tuple[Copies, ...]:
    """Who keeps which layers beside its own, so that each shard is on ``replicas`` disks.

    ``room_bytes`` is how much copies may take of each node's disk; what it has already, by
    ``held``, takes none. Where disks are short there are fewer copies (`without_copies`).
    """
    placing = _Placing(footprint, nodes, plan, dict(room_bytes), held)
    for count in range(1, replicas):
        ids = [stage.node_id for stage in plan.stages]
        for lost in itertools.islice(itertools.combinations(ids, count), _MOST_LOSSES):
            placing.place_for(lost, count)
        placing.place_the_rest(count)
    return placing.copies()


def without_copies(copies: Iterable[Copies], n_layers: int, replicas: int) -> tuple[int, ...]:
    """The layers of which fewer nodes keep copies than were asked for, as in `Copies.layers`."""
    kept = [layer for one in copies for layer in one.layers]
    every = range(EMBEDDING, n_layers + 1)
    return tuple(layer for layer in every if kept.count(layer) < replicas - 1)


def still_standing_by(copies: Iterable[Copies], plan: Plan, n_layers: int) -> tuple[Copies, ...]:
    """The copies that still are copies under another plan: no node stands by for itself."""
    own: dict[str, frozenset[int]] = dict.fromkeys(plan.unused, frozenset())
    own |= {stage.node_id: _own(stage.layers, n_layers) for stage in plan.stages}
    left = (
        Copies(one.node_id, one.name, tuple(x for x in one.layers if x not in own[one.node_id]))
        for one in copies
        if one.node_id in own
    )
    return tuple(one for one in left if one.layers)


def _own(layers: LayerRange, n_layers: int) -> frozenset[int]:
    """What a stage maps."""
    ends = {EMBEDDING} if layers.start == 0 else set()
    ends |= {n_layers} if layers.stop == n_layers else set()
    return frozenset(range(layers.start, layers.stop)) | ends


class _Placing:
    def __init__(
        self,
        footprint: ModelFootprint,
        nodes: Sequence[NodeCapacity],
        plan: Plan,
        room_bytes: dict[str, int],
        held: Mapping[str, Collection[int]],
    ) -> None:
        self._footprint, self._nodes, self._plan = footprint, nodes, plan
        self._room_bytes, self._held = room_bytes, held
        n_layers = footprint.n_layers
        self._own = {stage.node_id: _own(stage.layers, n_layers) for stage in plan.stages}
        self._place = {stage.node_id: index for index, stage in enumerate(plan.stages)}
        self._copies: dict[str, set[int]] = {node.node_id: set() for node in nodes}

    def copies(self) -> tuple[Copies, ...]:
        return tuple(
            Copies(node.node_id, node.name, tuple(sorted(self._copies[node.node_id])))
            for node in self._nodes
            if self._copies[node.node_id]
        )

    def place_for(self, lost: Collection[str], count: int) -> None:
        """Copies for the plan without some nodes, of what no other one keeps."""
        left = [node for node in self._nodes if node.node_id not in lost]
        kept = {layer for node in left for layer in self._copies[node.node_id]}
        gone = {
            x for one in lost for x in self._own[one] if x not in kept and self._lacks(x, count)
        }
        held = {
            node.node_id: {*self._has(node.node_id), *self._could_take(node.node_id, gone, lost)}
            for node in left
        }
        try:
            plan = plan_again(self._footprint, left, held, self._plan)
        except PlanError:
            return  # nobody goes on without these; `place_the_rest` keeps their layers safe
        for stage in plan.stages:
            for layer in sorted(_own(stage.layers, self._footprint.n_layers) & gone):
                self._keep(stage.node_id, layer)

    def place_the_rest(self, count: int) -> None:
        """Copies of what still has too few, where most room is."""
        for layer in range(EMBEDDING, self._footprint.n_layers + 1):
            others = sorted(self._copies, key=lambda one: -self._room_bytes.get(one, 0))
            for node_id in others:
                if not self._lacks(layer, count):
                    break
                self._keep(node_id, layer)

    def _lacks(self, layer: int, count: int) -> bool:
        return sum(layer in copies for copies in self._copies.values()) < count

    def _has(self, node_id: str) -> set[int]:
        return {*self._own.get(node_id, ()), *self._copies[node_id]}

    def _could_take(self, node_id: str, gone: set[int], lost: Collection[str]) -> list[int]:
        """Of lost layers, those beside a node's own that its disk has room for."""
        is_after = self._place.get(node_id, -1) > min(self._place[one] for one in lost)
        room_bytes = self._room_bytes.get(node_id, 0)
        taken = []
        for layer in sorted(gone, reverse=is_after):
            room_bytes -= self._needs_bytes(node_id, layer)
            if room_bytes < 0:
                break
            taken.append(layer)
        return taken

    def _keep(self, node_id: str, layer: int) -> None:
        needed_bytes = self._needs_bytes(node_id, layer)
        room_bytes = self._room_bytes.get(node_id, 0)
        if layer not in self._has(node_id) and needed_bytes <= room_bytes:
            self._copies[node_id].add(layer)
            self._room_bytes[node_id] = room_bytes - needed_bytes

    def _needs_bytes(self, node_id: str, layer: int) -> int:
        if layer in self._held.get(node_id, ()):
            return 0
        if layer == EMBEDDING:
            return self._footprint.embedding_bytes
        if layer == self._footprint.n_layers:
            return self._footprint.head_bytes
        return self._footprint.layers[layer].weight_bytes
