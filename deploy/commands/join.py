"""``pi-cluster join``: on a Pi, become a node of somebody's cluster."""

import sys
from pathlib import Path

import click

from pi_cluster.cluster import settings
from pi_cluster.cluster.advice import command
from pi_cluster.cluster.wire.peer import split_address
from pi_cluster.deploy.commands.options import cluster_option
from pi_cluster.deploy.hosts import local_service
from pi_cluster.deploy.screen import output
from pi_cluster.worker.cli import node_options, serve
from pi_cluster.worker.command_line import WorkerCommand
from pi_cluster.worker.machine.able import check_able
from pi_cluster.worker.process import WorkerOptions
from pi_cluster.worker.trust.enrolment import save_token

_MAX_TOKEN_BYTES = 1_000


@click.command()
@click.argument("token")
@click.option("--foreground", is_flag=True, help="Run the worker here, until Ctrl-C.")
@click.option(
    "--listen",
    metavar="HOST[:PORT]",
    default=f"0.0.0.0:{settings.DEFAULT_PORT}",
    show_default=True,
    help="Address for the operator and other workers.",
)
@node_options
@cluster_option
def join(
    token: str,
    foreground: bool,
    listen: str,
    data_dir: Path | None,
    name: str,
    threads: int | None,
    no_mdns: bool,
    cluster: str,
) -> None:
    """Join a cluster by a TOKEN of `pi-cluster token create`.

    TOKEN "-" reads it from standard input.

    As root this installs and starts a systemd service, which runs this very installation. The
    node waits until `pi-cluster up` on the operator's machine admits it; `pi-cluster leave` takes
    all of this back.
    """
    check_able()
    settings.check_cluster_name(cluster)
    host, port = split_address(listen, settings.DEFAULT_PORT)
    text = _read_standard_input() if token == "-" else token  # noqa: S105
    if local_service.can_install() and not foreground:
        if data_dir:
            raise click.UsageError(
                "--data-dir goes with --foreground: the service keeps its shards in "
                f"{local_service.data_folder(cluster)}"
            )
        local_service.check_port(cluster, port)
        worker = WorkerCommand(
            cluster=cluster,
            python=sys.executable,
            data_dir=local_service.data_folder(cluster),
            threads=threads,
            listen=f"{host}:{port}",
            name=name,
            announce=not no_mdns,
        )
        _install(worker, text)
        return
    folder = data_dir or settings.worker_data(cluster)
    folder.mkdir(parents=True, exist_ok=True)
    save_token(folder, text)
    if not foreground:
        words = ["worker", "--listen", listen, "--data-dir", str(folder), "--name", name]
        words += ["--threads", str(threads)] if threads else []
        words += ["--no-mdns"] if no_mdns else []
        output.notes.print(
            f"the token is kept in {folder}. Next: {command(cluster, *words)}, which waits until "
            f"the operator runs `{command(cluster, 'up')}`. As root, "
            f"`{command(cluster, 'join', 'TOKEN')}` installs a service that does this at every "
            "start",
            markup=False,
            soft_wrap=True,
        )
        return
    serve(
        WorkerOptions(
            cluster=cluster,
            host=host,
            port=port,
            data_dir=folder,
            name=name,
            threads=threads,
            announce=not no_mdns,
        )
    )


def _install(worker: WorkerCommand, token: str) -> None:
    local_service.prepare(worker.cluster)
    save_token(Path(worker.data_dir), token)
    unit = local_service.install(worker)
    output.notes.print(
        f"{unit} waits for the operator: run `{command(worker.cluster, 'up')}` there. Its log: "
        f"journalctl -u {unit}",
        markup=False,
        soft_wrap=True,
    )


def _read_standard_input() -> str:
    return sys.stdin.buffer.read(_MAX_TOKEN_BYTES).decode("ascii", "replace")
