"""The command ``pi-cluster worker``."""

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from pi_cluster.cluster import settings
from pi_cluster.cluster.errors import ClusterError
from pi_cluster.cluster.log_lines import LogFormat
from pi_cluster.cluster.system_failure import system_failure
from pi_cluster.cluster.wire.peer import split_address
from pi_cluster.kernels import KernelsError
from pi_cluster.worker.log_limit import limited_log
from pi_cluster.worker.machine.able import check_able
from pi_cluster.worker.process import WorkerOptions, run_worker

_MAX_NAME_BYTES = 64  # as long as Linux lets a host name be


def _checked_name(context: click.Context, option: click.Parameter, name: str) -> str:  # noqa: ARG001
    """A name that every table, log and message can show."""
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        raise click.BadParameter("it is not valid UTF-8") from None
    if not name.isprintable() or not name.strip():
        raise click.BadParameter("a name has letters that can be seen, and no line breaks")
    if size > _MAX_NAME_BYTES:
        raise click.BadParameter(f"it has {size} bytes; at most {_MAX_NAME_BYTES} are a name")
    return name


_NODE = (
    click.option("--data-dir", type=click.Path(path_type=Path), help="Where shards are kept."),
    click.option(
        "--name",
        default=socket.gethostname,
        callback=_checked_name,
        help="Shown to people. [default: host name]",
    ),
    click.option(
        "--threads", type=click.IntRange(1, 256), help="Of the kernels. [default: all cores]"
    ),
    click.option("--no-mdns", is_flag=True, help="Do not announce this node on the network."),
)


def node_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What a node is told, whether it is started by `worker` or by `join`."""
    for option in reversed(_NODE):
        command = option(command)
    return command


@click.command()
@click.option("--cluster", default=settings.DEFAULT_CLUSTER, show_default=True, help="Its name.")
@click.option(
    "--listen",
    metavar="HOST[:PORT]",
    default=f"127.0.0.1:{settings.DEFAULT_PORT}",
    show_default=True,
    help="Address for coordinator and other workers; 0.0.0.0 means all, port 0 any free one.",
)
@node_options
@click.option(
    "--memory",
    type=click.IntRange(1 << 20),
    metavar="BYTES",
    help="Use, and tell of, no more memory.  [default: all of the machine]",
)
@click.option(
    "--verify-every",
    type=click.FloatRange(0, min_open=True),
    metavar="DAYS",
    default=settings.VERIFY_DAYS,
    show_default=True,
    help="Compare the loaded shards with their SHA-256; after each start and loading too.",
)
@click.option(
    "--insecure", is_flag=True, help="Serve other machines without certificates or encryption."
)
@click.option(
    "--log-format",
    type=click.Choice([one.value for one in LogFormat]),
    default=LogFormat.TEXT.value,
    show_default=True,
    help="Of the log, on standard error: lines for people, or a JSON object each.",
)
def worker(
    cluster: str,
    listen: str,
    data_dir: Path | None,
    name: str,
    threads: int | None,
    memory: int | None,
    verify_every: float,
    insecure: bool,
    no_mdns: bool,
    log_format: str,
) -> None:
    """Offer this machine to a cluster.

    It holds some layers of a model and runs them.
    """
    check_able()
    settings.check_cluster_name(cluster)
    host, port = split_address(listen, settings.DEFAULT_PORT)
    serve(
        WorkerOptions(
            cluster=cluster,
            host=host,
            port=port,
            data_dir=data_dir or settings.worker_data(cluster),
            name=name,
            threads=threads,
            memory_bytes=memory,
            verify_every_days=verify_every,
            announce=not no_mdns,
            insecure=insecure,
        ),
        LogFormat(log_format),
    )


def serve(options: WorkerOptions, log_format: LogFormat = LogFormat.TEXT) -> None:
    """Run a worker with its log on standard error."""
    with limited_log(log_format, options.name):
        run_worker(options)


def main() -> int:
    """The worker as a program of its own; errors are sentences, as in `pi-cluster`."""
    try:
        worker.main(prog_name="python -m pi_cluster.worker", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:  # as click has it
        raise KeyboardInterrupt from None
    except OSError as error:
        return _fail(system_failure(error))
    except (ClusterError, KernelsError) as error:
        return _fail(error)
    return 0


def _fail(error: Exception) -> int:
    click.echo(f"error: {error}", err=True)
    return 1
