"""``pi-cluster leave``: on a Pi, be a node of somebody's cluster no more."""

import shlex
import sys
from pathlib import Path

import click

from pi_cluster.cluster import settings
from pi_cluster.cluster.advice import command
from pi_cluster.cluster.errors import StateError
from pi_cluster.deploy.commands.options import cluster_option
from pi_cluster.deploy.hosts import local_service
from pi_cluster.deploy.hosts.remote import coordinator_host, layout
from pi_cluster.deploy.screen import output
from pi_cluster.worker.leaving import Joined, find_joined, forget_node


@click.command()
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="What `join` was given, where it installed no service.",
)
@cluster_option
def leave(data_dir: Path | None, cluster: str) -> None:
    """Take back what `join` did on this Pi.

    Its service, its shards and its certificate are removed. The operator's machine is not told:
    what to do there is printed.
    """
    settings.check_cluster_name(cluster)
    if data_dir is None and local_service.can_install() and local_service.is_installed(cluster):
        folder = Path(local_service.data_folder(cluster))
        joined = find_joined(folder)
        local_service.remove(cluster)
        what = f"{layout.unit_name(cluster)} and {folder} are removed"
    else:
        folder = data_dir or settings.worker_data(cluster)
        joined = _leave_folder(folder, cluster)
        what = f"the node in {folder} is removed"
    steps = [what, _for_the_operator(joined, cluster)]
    if Path(sys.prefix) == local_service.PROGRAM and local_service.is_last():
        words = ["sudo", "rm", "-r", str(local_service.PROGRAM), str(coordinator_host.COMMAND)]
        steps.append(f"the program stays; to remove it too: {shlex.join(words)}")
    for step in steps:
        output.notes.print(step, markup=False, soft_wrap=True)


def _leave_folder(folder: Path, cluster: str) -> Joined:
    try:
        joined = find_joined(folder)
        if joined is None:
            raise StateError(_nothing_joined(folder, cluster))
        forget_node(folder)
    except OSError as error:
        raise StateError(
            f"{error.filename} cannot be removed ({error.strerror}): run this as the user whom it "
            "belongs to"
        ) from None
    return joined


def _nothing_joined(folder: Path, cluster: str) -> str:
    if layout.unit_file(cluster).exists():
        words = f"sudo {command(cluster, 'leave')}"
        return f"no node in {folder} has joined, but a service has: run {words}"
    return (
        f"no node in {folder} has joined cluster {cluster!r}: name another cluster with --cluster, "
        "or the folder that `join` was given with --data-dir"
    )


def _for_the_operator(joined: Joined | None, cluster: str) -> str:
    if joined and joined.node_id:
        words, up = command(cluster, "node", "revoke", joined.node_id), command(cluster, "up")
        return f"next, on the operator's machine: {words}; then `{up}` for those that stay"
    words = command(cluster, "token", "list")
    return (
        f"it was never admitted. On the operator's machine {words} shows its token, which "
        "`token revoke` takes back"
    )
