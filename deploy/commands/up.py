"""``pi-cluster up``: from a store to a pipeline that is ready."""

import contextlib
from collections.abc import Sequence
from pathlib import Path

import click

from cluster import settings
from cluster.dialing import Dialer
from cluster.discovery import discover
from cluster.errors import StateError
from cluster.objective import Objective
from cluster.peer import Peer, parse_nodes
from cluster.store import Store
from deploy import screen
from deploy.access import dialer_for
from deploy.admission import admit_waiting
from deploy.bootstrap import Result
from deploy.commands.options import (
    ask_password,
    context_option,
    hosts_option,
    insecure_option,
    nodes_option,
    sudo_password_option,
    texts_option,
    wheels_option,
)
from deploy.embedded import embedded_store
from deploy.fleet import SetupOptions, bring_grants, set_up_hosts, tell_failures
from deploy.footprint import choose_limits
from deploy.host_record import load_hosts
from deploy.hosts import read_hosts
from deploy.known_nodes import remember_nodes
from deploy.local_workers import ensure_local_workers
from deploy.nodes import Node, answering_nodes, ask_nodes, find_nodes
from deploy.plan_table import context_note, expected, plan_table
from deploy.record import PipelineRecord, changing, load_record, save_record
from deploy.renewal import renew_certificates
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
@hosts_option
@wheels_option
@sudo_password_option
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
@click.pass_context
def up(
    click_context: click.Context,
    store: Path | None,
    local: int | None,
    nodes: str | None,
    hosts: str | None,
    wheels: Path | None,
    ask_sudo_password: bool,
    insecure: bool,
    context: int | None,
    texts: int,
    objective: str,
    cluster: str,
) -> None:
    """Bring a model up: plan its layers over the nodes, hand out shards, load, and try it.

    Without STORE it is the embedded storyteller. With --hosts the hosts are set up by SSH first,
    which is remembered. Other nodes are found by mDNS; with --local, --nodes or --hosts they are
    only those.
    """
    if hosts and (local or nodes):
        raise click.UsageError("--hosts names the nodes itself: leave out --local and --nodes")
    named = read_hosts(hosts) if hosts else []
    with changing(cluster) as folder:
        opened = Store(store or embedded_store())
        previous = _previous(cluster)
        dialer = dialer_for(cluster, insecure)
        results: list[Result] = []
        if not (local or nodes or hosts):
            named = [known.host for known in load_hosts(cluster)]
        if named:
            size_bytes = sum(file.size_bytes for file in opened.manifest.files)
            password = ask_password() if ask_sudo_password else None
            options = SetupOptions(wheels, password, insecure)
            results = set_up_hosts(cluster, folder, named, options, dialer, size_bytes)
        if nodes or not (local or hosts):
            admit_waiting(cluster, nodes, dialer)
        if ready := [result.peer for result in results if result.peer]:
            found = _with_announced(ready, cluster, dialer, look=not hosts)
        else:
            found = _choose_nodes(cluster, local, nodes, dialer)
        remember_nodes(folder, [node.peer for node in found])
        renew_certificates(cluster, found, dialer)
        try:
            config = ModelConfig.from_dict(opened.manifest.config)
            limits = choose_limits(config, context, texts)
            rollout = make_rollout(opened, found, limits, previous, Objective(objective), dialer)
            _bring_up(rollout, config, previous, folder, insecure)
        finally:
            tell_failures(results)
        coordinators = [one.host for one in results if not one.failure and not one.peer]
        not_granted = bring_grants(cluster, coordinators)
    screen.warn(not_granted)
    if not_granted or any(result.failure for result in results):
        click_context.exit(1)


def _bring_up(
    rollout: Rollout,
    config: ModelConfig,
    previous: PipelineRecord | None,
    folder: Path,
    insecure: bool,
) -> None:
    screen.notes.print(plan_table(rollout.plan, rollout.prediction, rollout.nodes))
    screen.notes.print(expected(rollout.prediction), soft_wrap=True)
    if note := context_note(config, rollout.limits):
        screen.notes.print(note)
    if previous and is_running(rollout, previous):
        save_record(recorded(rollout, previous.epoch, folder, insecure), rollout.store)
        screen.notes.print("already up: nothing to move")
        return
    _carry_out(rollout, previous, folder, insecure)


def _with_announced(ready: Sequence[Peer], cluster: str, dialer: Dialer, look: bool) -> list[Node]:
    """The hosts' workers, and with ``look`` those that joined the cluster by themselves."""
    nodes, warnings = (
        find_nodes(cluster, dialer, ready) if look else answering_nodes(ready, cluster, dialer)
    )
    screen.warn(warnings)
    return nodes


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
