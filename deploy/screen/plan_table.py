"""A plan as people see it: which node holds which layers, and what is expected of it."""

from collections.abc import Mapping

from pi_cluster.coordinator.pipeline.nodes import Node
from pi_cluster.coordinator.planning.plan import Plan
from pi_cluster.coordinator.planning.prediction import USERS, Prediction
from pi_cluster.deploy.screen import output
from pi_cluster.deploy.screen.tables import FittedTable, names, numbers
from pi_cluster.transformer.config import ModelConfig
from pi_cluster.transformer.limits import Limits


def plan_table(
    plan: Plan, prediction: Prediction, nodes: Mapping[str, Node], title: str = ""
) -> FittedTable:
    """A row for each node, those that are left out at the end. ``nodes`` by id."""
    rows = []
    for index, stage in enumerate(plan.stages):
        node = nodes[stage.node_id]
        is_slowest = len(plan.stages) > 1 and index == prediction.slowest
        rows.append(
            (
                node.label,
                str(stage.layers),
                output.size(stage.weight_bytes),
                f"{output.size(stage.memory_bytes)} of {output.size(node.about.free_memory_bytes)}",
                f"{'slowest: ' if is_slowest else ''}{1000 * prediction.stage_s[index]:.2f}",
            )
        )
    rows += [(nodes[node_id].label, "not used", "", "", "") for node_id in plan.unused]
    columns = [names("node"), *map(numbers, ("layers", "bytes", "memory", "ms/token"))]
    return FittedTable(columns, rows, title)


def expected(prediction: Prediction) -> str:
    """The rates in one line."""
    return (
        f"expected tokens/s: {prediction.decode_tps:.2f} for one user, "
        f"{prediction.users_tps:.2f} for {USERS} together, {prediction.prefill_tps:.1f} of a prompt"
    )


def context_note(config: ModelConfig, limits: Limits) -> str:
    """What to know of the context where it is less than the model's, else nothing."""
    if config.widest_window is not None or limits.context == config.max_positions:
        return ""
    return (
        f"context {limits.context} of the model's {config.max_positions} tokens; "
        "--context changes it"
    )
