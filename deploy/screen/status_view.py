"""How the stages of a pipeline are: as a table, as a line of text, as values for ``json``."""

from collections.abc import Sequence
from typing import Any

from pi_cluster.cluster.heat import COOLING, is_hot, share_left
from pi_cluster.cluster.shown import shown_line
from pi_cluster.coordinator.pipeline.watching import StageLook
from pi_cluster.deploy.screen import output
from pi_cluster.deploy.screen.message_json import to_json
from pi_cluster.deploy.screen.tables import FittedTable, names, numbers, words
from pi_cluster.protos import pi_cluster_pb2 as pb


def status_table(looks: Sequence[StageLook]) -> FittedTable:
    """A row for each stage; what the whole pipeline does stands below."""
    rows = [
        (
            look.stage.name,
            str(look.stage.layers),
            look.state,
            _stage_bytes(look),
            _memory(look),
            _temperature(look),
            _rate(look.rows_ps),
        )
        for look in looks
    ]
    columns = [
        *(names("node"), numbers("layers")),
        words("state"),  # of a stage that is not well, it is a sentence
        *(numbers("stage"), numbers("memory used"), numbers("°C"), numbers("tokens/s")),
    ]
    return FittedTable(columns, rows, caption=_caption(looks))


def status_line(looks: Sequence[StageLook], way_out: str) -> str:
    """The same in one line, for logs, with :func:`troubles`."""
    stages = [
        " ".join(
            filter(None, (look.stage.name, str(look.stage.layers), look.state, _figures(look)))
        )
        for look in looks
    ]
    below = [*_caption(looks), *troubles(looks, way_out)]
    return shown_line(" | ".join([*stages, *below]))


def troubles(looks: Sequence[StageLook], way_out: str) -> list[str]:
    """A line for each stage of which more is known than its state, and at the end what to do."""
    unwell = [look for look in looks if not look.is_well]
    lines = [f"{look.stage.name}: {look.why}" for look in unwell if look.why]
    return [shown_line(line) for line in [*lines, *([way_out] if unwell else [])]]


def status_json(looks: Sequence[StageLook]) -> list[dict[str, Any]]:
    """An object for each stage."""
    return [_to_json(look) for look in looks]


def pipeline_rate(looks: Sequence[StageLook]) -> float | None:
    """Positions a second that came out at the end: those of the last stage."""
    return looks[-1].rows_ps


def _caption(looks: Sequence[StageLook]) -> list[str]:
    holders = sorted({look.coordinator for look in looks if look.coordinator})
    texts = output.count(max(_texts(look) for look in looks), "text")
    held = f"held by {', '.join(holders)} with {texts}" if holders else "held by nobody"
    lines = [held + _verified(looks)]
    rate = pipeline_rate(looks)
    if rate is not None:
        lines.append(f"{_rate(rate)} tokens/s through the last stage, prompts and guesses included")
    return [*lines, *_disk_problems(looks), *_strains(looks)]


def _disk_problems(looks: Sequence[StageLook]) -> list[str]:
    return [
        f"{look.stage.name}: {look.about.disk_problem}; what is loaded goes on, but not for long"
        for look in looks
        if look.about and look.about.disk_problem
    ]


def _strains(looks: Sequence[StageLook]) -> list[str]:
    """Of each node that is short of memory, slowed down or hot, what that means."""
    lines = []
    for look in looks:
        about = look.about or pb.NodeDescription()
        if about.short_of_memory:
            lines.append(f"{look.stage.name}: short of memory; no new texts begin meanwhile")
        if (share := share_left(about)) < 1:
            lines.append(f"{look.stage.name}: slowed down to {share:.0%} of its clock; {COOLING}")
        elif is_hot(about):
            lines.append(f"{look.stage.name}: hot, and about to slow down; {COOLING}")
    return lines


def _verified(looks: Sequence[StageLook]) -> str:
    """Since when all weights have been found right; empty where some node does not tell."""
    stages = [look.about.stage for look in looks if look.about]
    if len(stages) < len(looks) or not all(stage.HasField("verified_ago_s") for stage in stages):
        return ""
    longest_s = max(stage.verified_ago_s for stage in stages)
    return f", weights found right {output.ago(longest_s)}"


def _figures(look: StageLook) -> str:
    words = [_memory(look), f"{_temperature(look)} °C" if _temperature(look) else ""]
    if look.rows_ps is not None:
        words.append(f"{_rate(look.rows_ps)} tokens/s")
    return ", ".join(filter(None, words))


def _texts(look: StageLook) -> int:
    return look.about.stage.sequences if look.about else 0


def _stage_bytes(look: StageLook) -> str:
    if look.about is None:
        return ""
    stage = look.about.stage
    return output.size(stage.weight_bytes + stage.cache_bytes)


def _memory(look: StageLook) -> str:
    if look.about is None:
        return ""
    total, free = look.about.memory_bytes, look.about.free_memory_bytes
    return f"{output.size(max(0, total - free))} of {output.size(total)}"


def _temperature(look: StageLook) -> str:
    told = look.about is not None and look.about.temperature_c
    return f"{look.about.temperature_c:.0f}" if look.about and told else ""


def _rate(rows_ps: float | None) -> str:
    return "" if rows_ps is None else f"{rows_ps:.1f}"


def _to_json(look: StageLook) -> dict[str, Any]:
    values: dict[str, Any] = {
        "node": look.stage.name,
        "node_id": look.stage.node_id,
        "address": look.stage.address,
        "layers": str(look.stage.layers),
        "state": look.state,
        "coordinator": look.coordinator,
    }
    about = look.about
    if about is None:
        return values | {"error": look.why}
    if look.why:
        values["error"] = look.why
    return values | {
        "sequences": about.stage.sequences,
        "weight_bytes": about.stage.weight_bytes,
        "cache_bytes": about.stage.cache_bytes,
        "resident_bytes": about.resident_bytes,
        "memory_bytes": about.memory_bytes,
        "free_memory_bytes": about.free_memory_bytes,
        "short_of_memory": about.short_of_memory,
        "temperature_c": about.temperature_c or None,
        "slowed_to": share_left(about),
        "disk_problem": about.disk_problem or None,
        "steps": about.stage.steps,
        "rows": about.stage.rows,
        "rows_ps": look.rows_ps,
        "verified_ago_s": to_json(about.stage)["verified_ago_s"],
        "damaged_shards": [to_json(shard) for shard in about.damaged_shards],
        "version": about.version,
    }
