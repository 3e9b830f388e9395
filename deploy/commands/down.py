"""``pi-cluster down``: nothing is loaded any more."""

from concurrent.futures import ThreadPoolExecutor

import click

from pi_cluster.cluster.errors import ClusterError, StateError
from pi_cluster.cluster.wire.client import NodeClient
from pi_cluster.cluster.wire.dialing import Dialer
from pi_cluster.coordinator.records.access import still_insecure
from pi_cluster.coordinator.records.advice import up_anew
from pi_cluster.coordinator.records.events import EventKind, EventLog
from pi_cluster.coordinator.records.kept_record import forget_record, load_record
from pi_cluster.coordinator.records.known_hosts import load_hosts
from pi_cluster.coordinator.records.known_nodes import forget_nodes
from pi_cluster.coordinator.records.server_record import find_server
from pi_cluster.coordinator.stage_address import StageAddress
from pi_cluster.deploy.calling import dialer_for
from pi_cluster.deploy.commands.options import ask_password, cluster_option, sudo_password_option
from pi_cluster.deploy.hosts.fleet import purge_hosts
from pi_cluster.deploy.local_workers import stop_local_workers
from pi_cluster.deploy.screen import output
from pi_cluster.deploy.taking_turns import in_turn


@click.command()
@click.option("--purge", is_flag=True, help="Remove everything from the hosts that `up` set up.")
@sudo_password_option
@cluster_option
@click.pass_context
def down(context: click.Context, purge: bool, ask_sudo_password: bool, cluster: str) -> None:
    """Unload all stages, and stop the workers that run here.

    Shards are kept. The services of hosts go on, so that `up` is quick. With --purge, service,
    program, shards and user are removed from them.
    """
    password = ask_password() if ask_sudo_password else None
    with in_turn(cluster) as folder:
        try:
            record = load_record(cluster)
        except StateError:
            record = None
        if record:
            dialer = dialer_for(cluster, still_insecure(cluster, record.insecure))
            with ThreadPoolExecutor(max_workers=len(record.stages)) as pool:
                unloading = lambda stage: _unload(stage, record.epoch, dialer)  # noqa: E731
                list(pool.map(unloading, record.addresses))
            said = "the pipeline was taken down"
            EventLog(cluster).note(EventKind.DOWN, said, {"epoch": record.epoch})
        forget_record(folder)
        stopped = stop_local_workers(cluster)
        hosts = len(load_hosts(cluster)) if purge else 0
        failures = purge_hosts(cluster, folder, password) if purge else []
        if purge:
            forget_nodes(folder)
    stages = output.count(len(record.stages), "stage") if record else ""
    unloaded = f"{stages} unloaded" if record else "no pipeline was up"
    output.notes.print(f"{unloaded}, {output.count(stopped, 'local worker')} stopped")
    if server := find_server(cluster):
        output.notes.print(
            f"the server at {server.url} goes on, and answers again after the next `up`",
            markup=False,
            soft_wrap=True,
        )
    if record and record.call and not purge:
        again = up_anew(cluster, record.call, record.insecure)
        output.notes.print(f"to bring the same up again: {again}", markup=False, soft_wrap=True)
    if purge:
        output.notes.print(f"{output.count(hosts - len(failures), 'host')} cleared")
    for failure in failures:
        output.notes.print(f"error: not cleared: {failure}", markup=False, soft_wrap=True)
    if failures:
        context.exit(1)


def _unload(stage: StageAddress, epoch: int, dialer: Dialer) -> None:
    try:
        with NodeClient(stage.peer, dialer) as client:
            client.unload_stage(epoch)
    except ClusterError as error:
        output.notes.print(f"warning: {stage.name}: {error}", soft_wrap=True)
