"""``pi-cluster status`` and ``pi-cluster down``."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import click
from rich.table import Table

from cluster.certificates import Role
from cluster.dialing import Dialer
from cluster.errors import ClusterError, StateError
from cluster.node import NodeClient
from coordinator.pipeline import StageAddress
from deploy import screen
from deploy.access import dialer_for
from deploy.commands.options import ask_password, cluster_option, sudo_password_option
from deploy.fleet import purge_hosts
from deploy.host_record import load_hosts
from deploy.local_workers import stop_local_workers
from deploy.record import PipelineRecord, changing, forget_record, load_record
from protos import pi_cluster_pb2 as pb


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@cluster_option
@click.pass_context
def status(context: click.Context, as_json: bool, cluster: str) -> None:
    """Show the pipeline and how its nodes are. Exit code 1 when one is not well."""
    record = load_record(cluster)
    dialer = dialer_for(cluster, record.insecure, Role.COORDINATOR)
    with ThreadPoolExecutor(max_workers=len(record.stages)) as pool:
        rows = list(pool.map(lambda stage: _stage_status(stage, record, dialer), record.addresses))
    if as_json:
        values = {"cluster": cluster, "epoch": record.epoch, "stages": rows}
        click.echo(json.dumps(values))
    else:
        screen.answers.print(_table(rows))
    if any(row["state"] != "ready" and not row["coordinator"] for row in rows):
        context.exit(1)


@click.command()
@click.option("--purge", is_flag=True, help="Remove everything from the hosts that `up` set up.")
@sudo_password_option
@cluster_option
@click.pass_context
def down(context: click.Context, purge: bool, ask_sudo_password: bool, cluster: str) -> None:
    """Unload the stages on all nodes and stop the workers that run here. Shards are kept.

    The services of hosts go on, so that `up` is quick. With --purge, service, program, shards and
    user are removed from them.
    """
    password = ask_password() if ask_sudo_password else None
    with changing(cluster) as folder:
        try:
            record = load_record(cluster)
        except StateError:
            record = None
        if record:
            dialer = dialer_for(cluster, record.insecure)
            with ThreadPoolExecutor(max_workers=len(record.stages)) as pool:
                unloading = lambda stage: _unload(stage, record.epoch, dialer)  # noqa: E731
                list(pool.map(unloading, record.addresses))
        forget_record(folder)
        stopped = stop_local_workers(cluster)
        hosts = len(load_hosts(cluster)) if purge else 0
        failures = purge_hosts(cluster, folder, password) if purge else []
    stages = screen.count(len(record.stages), "stage") if record else ""
    unloaded = f"{stages} unloaded" if record else "no pipeline was up"
    screen.notes.print(f"{unloaded}, {screen.count(stopped, 'local worker')} stopped")
    if purge:
        screen.notes.print(f"{screen.count(hosts - len(failures), 'host')} cleared")
    for failure in failures:
        screen.notes.print(f"error: not cleared: {failure}", markup=False, soft_wrap=True)
    if failures:
        context.exit(1)


def _stage_status(stage: StageAddress, record: PipelineRecord, dialer: Dialer) -> dict[str, Any]:
    row: dict[str, Any] = {
        "node": stage.name,
        "node_id": stage.node_id,
        "address": stage.address,
        "layers": str(stage.layers),
        "coordinator": "",
    }
    try:
        with NodeClient(stage.peer, dialer) as client:
            about = client.describe()
    except ClusterError as error:
        return row | {"state": "lost", "error": str(error)}
    return row | {
        "state": _state(about, stage, record),
        "coordinator": about.stage.coordinator,
        "sequences": about.stage.sequences,
        "weight_bytes": about.stage.weight_bytes,
        "cache_bytes": about.stage.cache_bytes,
        "resident_bytes": about.resident_bytes,
        "free_memory_bytes": about.free_memory_bytes,
        "steps": about.stage.steps,
        "version": about.version,
    }


def _state(about: pb.NodeDescription, stage: StageAddress, record: PipelineRecord) -> str:
    if about.node_id != stage.node_id:
        return "another node answers here"
    if not about.HasField("stage"):
        return "nothing loaded"
    if about.stage.epoch != record.epoch:
        return "replaced by another up"
    return "busy" if about.stage.coordinator else "ready"


def _unload(stage: StageAddress, epoch: int, dialer: Dialer) -> None:
    try:
        with NodeClient(stage.peer, dialer) as client:
            client.unload_stage(epoch)
    except ClusterError as error:
        screen.notes.print(f"warning: {stage.name}: {error}", soft_wrap=True)


def _table(rows: list[dict[str, Any]]) -> Table:
    cells = [
        (
            f"{row['node']} ({row['address']})",
            row["layers"],
            row["state"],
            screen.size(row.get("weight_bytes", 0)),
            screen.size(row.get("cache_bytes", 0)),
            str(row.get("sequences", 0)),
        )
        for row in rows
    ]
    return screen.table("node", "layers", "state", "weights", "caches", "sequences", rows=cells)
