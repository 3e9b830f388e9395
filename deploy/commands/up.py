"""``pi-cluster up``: from a store to a pipeline that is ready."""

import contextlib
from collections.abc import Iterable
from pathlib import Path

import click
from rich.table import Table

from cluster import settings
from cluster.discovery import discover, parse_nodes
from cluster.errors import StateError
from cluster.store import Store
from deploy import screen
from deploy.embedded import embedded_store
from deploy.footprint import choose_limits
from deploy.local_workers import ensure_local_workers
from deploy.nodes import Node, ask_nodes, find_nodes
from deploy.record import PipelineRecord, changing, load_record, save_record
from deploy.rollout import (
    Rollout,
    hand_out_shards,
    is_running,
    load_stages,
    make_rollout,
    recorded,
    try_pipeline,
    unload_left_out,
)
from transformer.config import ModelConfig


@click.command()
@click.argument("store", type=click.Path(path_type=Path), required=False)
@click.option("--local", type=click.IntRange(1, 64), help="Start this many workers here first.")
@click.option("--nodes", metavar="HOST:PORT,...", help="Use these workers instead of mDNS.")
@click.option("--plan-only", is_flag=True, help="Show the plan and change nothing on the nodes.")
@click.option(
    "--context",
    type=click.IntRange(1),
    help="Longest text in tokens, for models without a sliding window.",
)
@click.option(
    "--texts",
    type=click.IntRange(1, settings.MAX_SEQUENCES),
    default=settings.DEFAULT_TEXTS,
    show_default=True,
    help="Full-length texts that the caches have room for.",
)
@click.option("--cluster", default=settings.DEFAULT_CLUSTER, show_default=True)
def up(
    store: Path | None,
    local: int | None,
    nodes: str | None,
    plan_only: bool,
    context: int | None,
    texts: int,
    cluster: str,
) -> None:
    """Bring a model up: plan its layers over the nodes, hand out shards, load, and try it.

    Without STORE it is the embedded storyteller. Nodes are found by mDNS; with --local or --nodes
    they are only those.
    """
    with changing(cluster) as folder:
        opened = Store(store or embedded_store())
        previous = _previous(cluster)
        found = _choose_nodes(cluster, local, nodes)
        config = ModelConfig.from_dict(opened.manifest.config)
        limits = choose_limits(config, context, texts)
        rollout = make_rollout(opened, found, limits, previous)
        screen.notes.print(_plan_table(rollout))
        if config.window is None and limits.context < config.max_positions:
            screen.notes.print(
                f"context {limits.context} of the model's {config.max_positions} tokens; "
                "--context changes it"
            )
        if plan_only:
            return
        if is_running(rollout, previous):
            screen.notes.print("already up: nothing to move")
            return
        _carry_out(rollout, previous, folder)


def _carry_out(rollout: Rollout, previous: PipelineRecord | None, folder: Path) -> None:
    with screen.bars() as progress:
        transfer = screen.TransferBars(progress)
        hand_out_shards(rollout, transfer)
    with screen.notes.status("loading"):
        record = recorded(rollout, load_stages(rollout, previous), folder)
        try_pipeline(record)
        save_record(record, rollout.store)
        warnings = unload_left_out(rollout, previous)
    _warn(warnings)
    stages = screen.count(len(record.stages), "stage")
    screen.notes.print(
        f"ready: {stages}, {screen.size(transfer.sent_bytes)} moved. "
        'Next: pi-cluster prompt "Tell me a story about a brave fox."',
        soft_wrap=True,
    )


def _choose_nodes(cluster: str, local: int | None, nodes: str | None) -> list[Node]:
    if not local and not nodes:
        found, warnings = find_nodes(cluster)
        _warn(warnings)
        return found
    peers = parse_nodes(nodes) if nodes else []
    if local:
        started = ensure_local_workers(cluster, local)
        expected = [peer.node_id for peer in started]
        seen = {p.node_id for p in discover(cluster, settings.LOCAL_DISCOVERY_S, expected)}
        lost = [peer.name for peer in started if peer.node_id not in seen]
        if lost:
            _warn(
                [
                    f"mDNS does not find {', '.join(lost)} (is multicast blocked here?); using "
                    "the addresses that they wrote down"
                ]
            )
        peers += started
    return ask_nodes(peers, cluster)


def _warn(warnings: Iterable[str]) -> None:
    for warning in warnings:
        screen.notes.print(f"warning: {warning}", markup=False, soft_wrap=True)


def _previous(cluster: str) -> PipelineRecord | None:
    with contextlib.suppress(StateError):
        return load_record(cluster)
    return None


def _plan_table(rollout: Rollout) -> Table:
    rows = []
    for stage in rollout.plan.stages:
        node = rollout.node(stage)
        rows.append(
            (
                f"{node.about.name} ({node.address})",
                str(stage.layers),
                screen.size(stage.weight_bytes),
                f"{screen.size(stage.memory_bytes)} of {screen.size(node.about.free_memory_bytes)}",
            )
        )
    for node_id in rollout.plan.unused:
        node = rollout.nodes[node_id]
        rows.append((f"{node.about.name} ({node.address})", "not used", "", ""))
    return screen.table("node", "layers", "bytes", "memory", rows=rows)
