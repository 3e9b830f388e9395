"""``pi-cluster plan``: what each objective would make of the nodes, without deploying anything."""

import json
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import click

from pi_cluster.cluster import settings
from pi_cluster.cluster.errors import PlanError
from pi_cluster.cluster.store.manifest import OUTER_WEIGHTS, WEIGHTS, Manifest
from pi_cluster.coordinator.pipeline.measuring import Planner, Predicted
from pi_cluster.coordinator.pipeline.nodes import Node, named_or_found
from pi_cluster.coordinator.pipeline.standing_by import place_on_nodes
from pi_cluster.coordinator.planning.footprint import (
    choose_limits,
    footprint_with,
    model_footprint,
)
from pi_cluster.coordinator.planning.objective import Objective
from pi_cluster.coordinator.records.up_call import UpCall
from pi_cluster.deploy.as_before import open_store, what_is_up
from pi_cluster.deploy.calling import dialer_for
from pi_cluster.deploy.commands.draft_model_option import draft_model_option, model_of
from pi_cluster.deploy.commands.options import (
    cluster_option,
    context_option,
    insecure_option,
    left_out,
    model_argument,
    nodes_option,
    replicas_option,
    texts_option,
)
from pi_cluster.deploy.drafting.choosing import draft_of_call
from pi_cluster.deploy.membership.admission import admit_waiting
from pi_cluster.deploy.models.model_source import find_source
from pi_cluster.deploy.screen import output
from pi_cluster.deploy.screen.copies_view import copies_json, copies_line
from pi_cluster.deploy.screen.draft_view import draft_json, expected_of_drafts
from pi_cluster.deploy.screen.formats_view import InFormat, formats_table
from pi_cluster.deploy.screen.plan_table import context_note, expected, plan_table
from pi_cluster.transformer.config_form import read_config
from pi_cluster.transformer.formats import WeightFormats
from pi_cluster.transformer.limits import Limits
from pi_cluster.transformer.weight_bytes import weight_bytes

_SHOWN_WEIGHTS = tuple(weights for weights in WEIGHTS if weights != "f32")


@click.command()
@model_argument
@nodes_option
@insecure_option
@context_option
@texts_option
@replicas_option
@draft_model_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@cluster_option
@click.pass_context
def plan(
    click_context: click.Context,
    model: str | None,
    nodes: str | None,
    insecure: bool,
    context: int | None,
    texts: int,
    replicas: int,
    draft_model: str | None,
    as_json: bool,
    cluster: str,
) -> None:
    """Show the plans for both objectives, and their rates.

    The rates are the tokens per second to expect, here and with the weights in other formats.

    MODEL is a store, a checkpoint, a GGUF file or a pulled name, as for `up`; without it, it
    is the model that is up, at first the embedded storyteller. Without --nodes, mDNS finds them.
    Nodes that wait to join are admitted, and those never measured are; beside that nothing changes
    on them.
    """
    settings.check_cluster_name(cluster)
    previous = what_is_up(cluster)
    before = previous.call if previous else None
    given = find_source(model).said if model else ""
    call = UpCall(
        given, context=context, texts=texts, replicas=replicas, draft_model=model_of(draft_model)
    )
    call = call if model else call.for_model_of(before, left_out(click_context))
    opened = open_store(call, before, cluster)
    dialer = dialer_for(cluster, insecure)
    admit_waiting(cluster, nodes, dialer)
    found, warnings = named_or_found(nodes, cluster, dialer)
    output.warn(warnings)
    config = read_config(opened.manifest.config)
    limits = choose_limits(config, call.context, call.texts)
    footprint = model_footprint(opened.manifest, config, limits)
    draft = draft_of_call(call, opened, limits, found, previous)
    placed = draft.placed if draft else None
    planner = Planner(footprint, found, dialer, output.measuring, placed)
    plans = _different_plans(planner)
    formats = _in_each_format(planner, opened.manifest, limits)
    if note := context_note(config, limits):
        output.notes.print(note)
    n_layers = opened.manifest.n_layers
    copies = [
        place_on_nodes(opened.manifest, limits, one.plan, call.replicas, found, dialer)
        if call.replicas > 1
        else ()
        for _, one in plans
    ]
    if as_json:
        values = [
            _to_json(*one, found)
            | {"standby": copies_json(kept, n_layers)}
            | {"draft": draft_json(draft, one[1].prediction)}
            for one, kept in zip(plans, copies, strict=True)
        ]
        in_formats = [one.to_json() for one in formats]
        click.echo(json.dumps({"plans": values, "formats": in_formats}))
        return
    by_id = {node.about.node_id: node for node in found}
    for (objectives, predicted), kept in zip(plans, copies, strict=True):
        title = f"--objective {' or '.join(objectives)}"
        output.answers.print(plan_table(predicted.plan, predicted.prediction, by_id, title))
        output.answers.print(expected(predicted.prediction))
        if draft:
            said = expected_of_drafts(draft, predicted.prediction)
            output.answers.print(said, markup=False, soft_wrap=True)
        if line := copies_line(kept, n_layers):
            output.answers.print(line, markup=False, soft_wrap=True)
    if formats:
        output.answers.print(formats_table(formats))


def _different_plans(planner: Planner) -> list[tuple[list[Objective], Predicted]]:
    """Each plan once, with the objectives that lead to it."""
    plans: list[tuple[list[Objective], Predicted]] = []
    for objective in Objective:
        predicted = planner.plan(objective)
        if plans and plans[-1][1].plan == predicted.plan:
            plans[-1][0].append(objective)
        else:
            plans.append(([objective], predicted))
    return plans


def _in_each_format(planner: Planner, manifest: Manifest, limits: Limits) -> list[InFormat]:
    """The model in each of what `shard --weights` offers; nothing for one that was quantised
    before it became a store, which keeps what it has.
    """
    if not set(manifest.formats_of_matrices) <= set(OUTER_WEIGHTS):
        return []
    config = read_config(manifest.config)
    found = []
    for weights in _SHOWN_WEIGHTS:
        sizes = weight_bytes(config, WeightFormats.choose(weights))
        footprint = footprint_with(sizes, config, limits)
        decode_tps = users_tps = None
        with suppress(PlanError):
            decode_tps = planner.plan(Objective.LATENCY, footprint).prediction.decode_tps
            users_tps = planner.plan(Objective.THROUGHPUT, footprint).prediction.users_tps
        is_this = weights == manifest.weights
        found.append(InFormat(weights, is_this, sizes.all, decode_tps, users_tps))
    return found


def _to_json(
    objectives: Sequence[Objective], predicted: Predicted, nodes: Sequence[Node]
) -> dict[str, Any]:
    by_id = {node.about.node_id: node for node in nodes}
    prediction = predicted.prediction
    stages = [
        {
            "node": by_id[stage.node_id].about.name,
            "node_id": stage.node_id,
            "address": by_id[stage.node_id].address,
            "layers": str(stage.layers),
            "weight_bytes": stage.weight_bytes,
            "memory_bytes": stage.memory_bytes,
            "token_s": token_s,
        }
        for stage, token_s in zip(predicted.plan.stages, prediction.stage_s, strict=True)
    ]
    return {
        "objectives": list(objectives),
        "stages": stages,
        "slowest": prediction.slowest,
        "links_s": prediction.links_s,
        "unused": list(predicted.plan.unused),
        "decode_tps": prediction.decode_tps,
        "users_tps": prediction.users_tps,
        "prefill_tps": prediction.prefill_tps,
    }
