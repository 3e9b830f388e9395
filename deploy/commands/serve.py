"""``pi-cluster serve``: the pipeline for everybody who speaks HTTP."""

import ipaddress
import logging
import signal
import socket
import ssl
from contextlib import suppress
from pathlib import Path

import click

from pi_cluster.cluster.advice import command
from pi_cluster.cluster.errors import AccessError
from pi_cluster.coordinator.client import PipelineClient
from pi_cluster.coordinator.records.pipeline_record import load_record
from pi_cluster.deploy.calling import dialer_to_ask
from pi_cluster.deploy.commands.options import cluster_option
from pi_cluster.deploy.leading_out import leading_out
from pi_cluster.deploy.screen.output import note, notice, warn_loudly
from pi_cluster.server.app import guarded, make_app
from pi_cluster.server.asking.desk import Desk
from pi_cluster.server.http.guard import Admission
from pi_cluster.server.keys import FollowedKeys, KeyBook
from pi_cluster.server.local_door import LocalDoor
from pi_cluster.server.serving import ServerSettings, listen
from pi_cluster.server.serving import serve as run_server

_DEFAULTS = ServerSettings()


@click.command()
@click.option("--host", default=_DEFAULTS.host, show_default=True, help="Where to listen.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=_DEFAULTS.port,
    show_default=True,
    help="0 takes a free one.",
)
@click.option(
    "--allow-host",
    "hosts",
    multiple=True,
    metavar="NAME",
    help="Another name of this server; .NAME for all below it. May be repeated.",
)
@click.option(
    "--allow-origin",
    "origins",
    multiple=True,
    metavar="ORIGIN",
    help="Let pages from there call, as https://chat.example.org. May be repeated.",
)
@click.option(
    "--tls-cert",
    "certificate",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Serve HTTPS with this certificate chain, in PEM.",
)
@click.option(
    "--tls-key",
    "key",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="The certificate's key, in PEM.",
)
@click.option(
    "--strict-model", is_flag=True, help="Refuse OpenAI's requests for a model of another name."
)
@click.option("--insecure", is_flag=True, help="Let everybody on the network ask, without a key.")
@cluster_option
@leading_out
def serve(
    host: str,
    port: int,
    hosts: tuple[str, ...],
    origins: tuple[str, ...],
    certificate: Path | None,
    key: Path | None,
    strict_model: bool,
    insecure: bool,
    cluster: str,
) -> None:
    """Serve the model over HTTP: OpenAI's and Ollama's API, a page."""
    settings = ServerSettings(host, port)
    tls = _tls(certificate, key)
    keys = _keys(cluster, host, insecure)
    record = load_record(cluster)
    with (
        LocalDoor(cluster) as door,
        listen(settings) as listener,
        PipelineClient(
            *(record, dialer_to_ask(cluster, record)),
            on_notice=notice,
            max_waiting=settings.max_waiting,
        ) as client,
    ):
        _log_to_standard_error()
        admission = Admission(hosts, frozenset(origins), keys)
        app = guarded(make_app(Desk(client), strict_model=strict_model), admission)
        address, chosen = listener.getsockname()[:2]
        shown = f"[{address}]" if listener.family == socket.AF_INET6 else address
        url = f"{'https' if tls else 'http'}://{shown}:{chosen}"
        door.announce(url, [f"{shown}:{chosen}"], needs_key=keys.are_needed)
        note(f"serving on {url}")
        # The server raises its signal again once it has ended, and what is entered must be left.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        with suppress(KeyboardInterrupt):
            listeners = [listener, door.listener]
            run_server(app, listeners, settings.limits, tls, on_stop=client.close)


def _keys(cluster: str, host: str, insecure: bool) -> FollowedKeys:
    """Whom to let in. Raises ``AccessError`` for a server that everybody could use unasked."""
    book = KeyBook(cluster)
    is_open = not _is_loopback(host)
    if is_open and insecure:
        warn_loudly(
            f"WARNING: everybody who reaches {host} may ask the model: make a key with "
            f"`{command(cluster, 'key', 'create', 'NAME')}` and leave --insecure out"
        )
    elif is_open and not book.entries:
        raise AccessError(
            f"others can reach {host}, and nobody has a key yet: make one with "
            f"`{command(cluster, 'key', 'create', 'NAME')}`, or let everybody in with --insecure"
        )
    return FollowedKeys(book, always_needed=is_open, never_needed=insecure)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _tls(certificate: Path | None, key: Path | None) -> ssl.SSLContext | None:
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise click.UsageError("--tls-cert and --tls-key belong together")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except (OSError, ValueError) as error:
        raise AccessError(
            f"{certificate} and {key} are no certificate and its key, in PEM and without a "
            f"password ({error})"
        ) from None
    return context


def _no_password() -> str:
    raise ValueError("the key has a password")


def _log_to_standard_error() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    for name, level in (("pi_cluster.server", logging.INFO), ("uvicorn", logging.ERROR)):
        logger = logging.getLogger(name)
        logger.addHandler(handler)
        logger.setLevel(level)
        logger.propagate = False
