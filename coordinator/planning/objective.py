"""What a plan is to be good at."""

from collections.abc import Sequence
from enum import StrEnum

from pi_cluster.coordinator.planning.latency_plan import plan_for_one_user
from pi_cluster.coordinator.planning.plan import ModelFootprint, NodeCapacity, Plan, plan_layers


class Objective(StrEnum):
    """Many users or long prompts, or the next token of one user."""

    THROUGHPUT = "throughput"
    LATENCY = "latency"


def make_plan(
    footprint: ModelFootprint, nodes: Sequence[NodeCapacity], objective: Objective
) -> Plan:
    """The plan for an objective. Raises ``PlanError`` with the figures when nothing fits."""
    if objective is Objective.LATENCY:
        return plan_for_one_user(footprint, nodes)
    return plan_layers(footprint, nodes)
