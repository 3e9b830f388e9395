"""``pi-cluster up``: from a store to a pipeline that is ready."""

import contextlib
from pathlib import Path

import click

from cluster import settings
from cluster.dialing import Dialer
from cluster.discovery import discover
from cluster.errors import StateError
from cluster.objective import Objective
from cluster.peer import parse_nodes
from cluster.store import Store
from deploy import screen
from deploy.access import dialer_for
from deploy.admission import admit_waiting
from deploy.commands.options import context_option, insecure_option, nodes_option, texts_option
from deploy.embedded import embedded_store
from deploy.footprint import choose_limits
from deploy.local_workers import ensure_local_workers
from deploy.membership import renew_certificates
from deploy.nodes import Node, ask_nodes, find_nodes
from deploy.plan_table import context_note, expected, plan_table
from deploy.record import PipelineRecord, changing, load_record, save_record
from deploy.rollout import (
    Rollout,
    is_running,
    load_stages,
    make_rollout,
    recorded,
    try_pipeline,
    unload_left_out,
)
from deploy.transfer import Moved, hand_out_shards
from transformer.config import ModelConfig


@click.command()
@click.argument("store", type=click.Path(path_type=Path), required=False)
@click.option("--local", type=click.IntRange(1, 64), help="Start this many workers here first.")
@nodes_option
@insecure_option
@context_option
@click.option(
    "--objective",
    type=click.Choice([objective.value for objective in Objective]),
    default=Objective.THROUGHPUT.value,
    show_default=True,
    help="Plan for many users and long prompts, or for the next token of one user.",
)
@texts_option
@click.option("--cluster", default=settings.DEFAULT_CLUSTER, show_default=True)
def up(
    store: Path | None,
    local: int | None,
    nodes: str | None,
    insecure: bool,
    context: int | None,
    texts: int,
    objective: str,
    cluster: str,
) -> None:
    """Bring a model up: plan its layers over the nodes, hand out shards, load, and try it.

    Without STORE it is the embedded storyteller. Nodes are found by mDNS; with --local or --nodes
    they are only those.
    """
    with changing(cluster) as folder:
        opened = Store(store or embedded_store())
        previous = _previous(cluster)
        dialer = dialer_for(cluster, insecure)
        if nodes or not local:
            admit_waiting(cluster, nodes, dialer)
        found = _choose_nodes(cluster, local, nodes, dialer)
        renew_certificates(cluster, found, dialer)
        config = ModelConfig.from_dict(opened.manifest.config)
        limits = choose_limits(config, context, texts)
        rollout = make_rollout(opened, found, limits, previous, Objective(objective), dialer)
        screen.notes.print(plan_table(rollout.plan, rollout.prediction, rollout.nodes))
        screen.notes.print(expected(rollout.prediction), soft_wrap=True)
        if note := context_note(config, limits):
            screen.notes.print(note)
        if previous and is_running(rollout, previous):
            save_record(recorded(rollout, previous.epoch, folder, insecure), opened)
            screen.notes.print("already up: nothing to move")
            return
        _carry_out(rollout, previous, folder, insecure)


def _carry_out(
    rollout: Rollout, previous: PipelineRecord | None, folder: Path, insecure: bool
) -> None:
    with screen.bars() as progress:
        moved = hand_out_shards(rollout, screen.TransferBars(progress))
    with screen.notes.status("loading"):
        record = recorded(rollout, load_stages(rollout, previous), folder, insecure)
        try_pipeline(record, rollout.dialer)
        save_record(record, rollout.store)
        warnings = unload_left_out(rollout, previous)
    screen.warn(warnings)
    stages = screen.count(len(record.stages), "stage")
    screen.notes.print(
        f"ready: {stages}, {_moved(moved)}. "
        'Next: pi-cluster prompt "Tell me a story about a brave fox."',
        soft_wrap=True,
    )


def _moved(moved: Moved) -> str:
    total = f"{screen.size(moved.from_operator + moved.between_nodes)} moved"
    if not moved.between_nodes:
        return total
    here, between = screen.size(moved.from_operator), screen.size(moved.between_nodes)
    return f"{total} ({here} from here, {between} between nodes)"


def _choose_nodes(cluster: str, local: int | None, nodes: str | None, dialer: Dialer) -> list[Node]:
    if not local and not nodes:
        found, warnings = find_nodes(cluster, dialer)
        screen.warn(warnings)
        return found
    peers = parse_nodes(nodes) if nodes else []
    if local:
        started = ensure_local_workers(cluster, local)
        expected = [peer.node_id for peer in started]
        seen = {p.node_id for p in discover(cluster, settings.LOCAL_DISCOVERY_S, expected)}
        lost = [peer.name for peer in started if peer.node_id not in seen]
        if lost:
            screen.warn(
                [
                    f"mDNS does not find {', '.join(lost)} (is multicast blocked here?); using "
                    "the addresses that they wrote down"
                ]
            )
        peers += started
    return ask_nodes(peers, cluster, dialer)


def _previous(cluster: str) -> PipelineRecord | None:
    with contextlib.suppress(StateError):
        return load_record(cluster)
    return None
