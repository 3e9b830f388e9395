"""Nodes measured, and plans made and predicted from what was measured."""

import collections
import itertools
import statistics
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from pi_cluster.cluster.heat import share_left
from pi_cluster.cluster.speed import Link, NodeProfile, Speed
from pi_cluster.cluster.wire.client import NodeClient
from pi_cluster.cluster.wire.dialing import Dialer
from pi_cluster.cluster.wire.echo import measure_link
from pi_cluster.coordinator.pipeline.nodes import Node
from pi_cluster.coordinator.planning.costs import ModelFootprint
from pi_cluster.coordinator.planning.draft_placing import PlacedDraft, beside
from pi_cluster.coordinator.planning.making import make_plan
from pi_cluster.coordinator.planning.objective import Objective
from pi_cluster.coordinator.planning.plan import NodeCapacity, Plan
from pi_cluster.coordinator.planning.prediction import Prediction, predict

Measuring = Callable[[int], AbstractContextManager[object]]
"""Entered while nodes are measured; told how many of them are measured for the first time."""


@dataclass(frozen=True, slots=True)
class Predicted:
    """A plan, and what it is expected to reach."""

    plan: Plan
    prediction: Prediction


class Planner:
    """Plans a model over nodes that it measures first.

    A node that was measured before answers with what it stored; links are measured each time.
    Raises ``PipelineBusy`` when a node must be measured while it computes for somebody.
    """

    def __init__(
        self,
        footprint: ModelFootprint,
        nodes: Sequence[Node],
        dialer: Dialer,
        measuring: Measuring = nullcontext,
        draft: PlacedDraft | None = None,
    ) -> None:
        """A ``draft`` model takes its share of the machine that it is on, before layers do."""
        self._dialer = dialer
        self._footprint = footprint
        self._nodes = {node.about.node_id: node for node in nodes}
        new = [node for node in nodes if not node.about.HasField("speed")]
        with measuring(len(new)):
            self._capacities = capacities(
                nodes, _measure_nodes(nodes, dialer), measure_reach(nodes, dialer)
            )
        if draft:
            self._capacities = beside(draft, footprint, self._capacities)
        self._links: dict[tuple[str, str], Link] = {}

    def plan(self, objective: Objective, instead: ModelFootprint | None = None) -> Predicted:
        """The plan for an objective, of the model or of another one ``instead``.

        Raises ``PlanError`` with the figures when nothing fits.
        """
        plan = make_plan(instead or self._footprint, self._capacities, objective)
        return Predicted(plan, self.prediction(plan, instead))

    def prediction(self, plan: Plan, instead: ModelFootprint | None = None) -> Prediction:
        """What a plan over these nodes is expected to reach."""
        by_id = {capacity.node_id: capacity for capacity in self._capacities}
        used = [by_id[stage.node_id] for stage in plan.stages]
        between = [self._link(one.node_id, two.node_id) for one, two in itertools.pairwise(used)]
        links = [used[0].reach, *between, used[-1].reach]
        return predict(instead or self._footprint, plan, by_id, links)

    def _link(self, from_id: str, to_id: str) -> Link:
        if (from_id, to_id) not in self._links:
            node = self._nodes[from_id]
            with NodeClient(node.peer, self._dialer) as client:
                link = client.measure_link(self._nodes[to_id].peer)
            self._links[from_id, to_id] = link
        return self._links[from_id, to_id]


def capacities(
    nodes: Sequence[Node], profiles: Sequence[NodeProfile], reach: Sequence[Link]
) -> list[NodeCapacity]:
    """What each node offers to a plan.

    Nodes on one machine share its memory. Those with as many threads are equally fast, whatever
    little each of them measured more than the other. Who is slowed down now counts as slow as it
    is; whoever is measured only now was slow while it was measured.
    """
    sharing = collections.Counter(node.about.machine_id for node in nodes)
    alone: dict[tuple[str, int], list[Speed]] = collections.defaultdict(list)
    machine: dict[str, list[Speed]] = collections.defaultdict(list)
    for node, profile in zip(nodes, profiles, strict=True):
        alone[node.about.machine_id, node.about.threads].append(profile.alone)
        machine[node.about.machine_id].append(profile.machine)
    return [
        NodeCapacity(
            node_id=node.about.node_id,
            name=node.about.name,
            free_memory_bytes=node.about.free_memory_bytes // sharing[node.about.machine_id],
            speed=_median(alone[node.about.machine_id, node.about.threads]).slowed_to(_share(node)),
            machine_id=node.about.machine_id,
            machine_speed=_median(machine[node.about.machine_id]).slowed_to(_share(node)),
            reach=link,
        )
        for node, link in zip(nodes, reach, strict=True)
    ]


def _share(node: Node) -> float:
    """Of the speed that a node has stored, what its firmware leaves it now."""
    return share_left(node.about) if node.about.HasField("speed") else 1.0


def _median(speeds: Sequence[Speed]) -> Speed:
    return Speed(
        statistics.median(speed.read_bytes_ps for speed in speeds),
        statistics.median(speed.macs_ps for speed in speeds),
    )


def _measure_nodes(nodes: Sequence[Node], dialer: Dialer) -> list[NodeProfile]:
    """Profiles in the order of the nodes: machine beside machine, on each one after the other."""
    machines: dict[str, list[int]] = collections.defaultdict(list)
    for index, node in enumerate(nodes):
        machines[node.about.machine_id].append(index)

    def on_one_machine(indices: Sequence[int]) -> list[tuple[int, NodeProfile]]:
        return [(index, _measure_node(nodes[index], dialer)) for index in indices]

    with ThreadPoolExecutor(max_workers=len(machines)) as pool:
        done = [pool.submit(on_one_machine, indices) for indices in machines.values()]
    profiles = dict(itertools.chain.from_iterable(one.result() for one in done))
    return [profiles[index] for index in range(len(nodes))]


def _measure_node(node: Node, dialer: Dialer) -> NodeProfile:
    with NodeClient(node.peer, dialer) as client:
        return client.measure_node()


def measure_reach(nodes: Sequence[Node], dialer: Dialer) -> list[Link]:
    """The links from here, one after the other since they begin with the same cable."""
    links = []
    for node in nodes:
        with NodeClient(node.peer, dialer, apart=True) as client:
            links.append(measure_link(client))
    return links
