"""The plan for an objective."""

from collections.abc import Sequence

from pi_cluster.coordinator.planning.costs import ModelFootprint
from pi_cluster.coordinator.planning.latency_plan import plan_for_one_user
from pi_cluster.coordinator.planning.objective import Objective
from pi_cluster.coordinator.planning.plan import NodeCapacity, Plan
from pi_cluster.coordinator.planning.throughput_plan import plan_layers


def make_plan(
    footprint: ModelFootprint, nodes: Sequence[NodeCapacity], objective: Objective
) -> Plan:
    """The plan for an objective. Raises ``PlanError`` with the figures when nothing fits."""
    if objective is Objective.LATENCY:
        return plan_for_one_user(footprint, nodes)
    return plan_layers(footprint, nodes)
