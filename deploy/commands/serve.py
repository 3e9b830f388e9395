"""``pi-cluster serve``: the pipeline for everybody who speaks HTTP."""

import signal
import socket
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pi_cluster.cluster.log_lines import LogFormat
from pi_cluster.coordinator.client import PipelineClient
from pi_cluster.coordinator.pooling import Pooling
from pi_cluster.coordinator.records.advice import bring_one_up
from pi_cluster.coordinator.records.kept_record import has_record, load_record
from pi_cluster.deploy.calling import dialer_to_ask
from pi_cluster.deploy.commands.draft_model_option import draft_model_option, model_of
from pi_cluster.deploy.commands.options import (
    cluster_option,
    give_up_after_option,
    heal_timeout_option,
    journal_option,
)
from pi_cluster.deploy.drafting.in_use import DraftsHere
from pi_cluster.deploy.hosts.server_service import ServerService
from pi_cluster.deploy.leading_out import leading_out
from pi_cluster.deploy.screen.output import note
from pi_cluster.deploy.server_admission import given_certificate, keys_for, own_certificate
from pi_cluster.deploy.server_log import notices, server_log
from pi_cluster.server.app import guarded, make_app
from pi_cluster.server.asking.desk import Desk
from pi_cluster.server.asking.kept import Keeper, journal_of
from pi_cluster.server.asking.prompt_log import PromptLog
from pi_cluster.server.asking.serving_client import serving_client
from pi_cluster.server.http.guard import Admission
from pi_cluster.server.local_door import LocalDoor
from pi_cluster.server.serving import ServerSettings, listen
from pi_cluster.server.serving import serve as run_server
from pi_cluster.server.waiting import serve_until

if TYPE_CHECKING:
    from pi_cluster.deploy.drafting.choosing import GivenDraft

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
    "--tls",
    "own_tls",
    is_flag=True,
    help="Serve HTTPS with a certificate that this server makes, and say whom to trust.",
)
@click.option(
    "--strict-model", is_flag=True, help="Refuse OpenAI's requests for a model of another name."
)
@click.option(
    "--embeddings",
    type=click.Choice([one.value for one in Pooling]),
    help="Give texts as vectors: of the last state, or the mean of all, as the model was made for.",
)
@click.option("--insecure", is_flag=True, help="Let everybody on the network ask, without a key.")
@click.option(
    "--log-prompts",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Append every prompt and answer to FILE; else no text is kept.",
)
@click.option(
    "--log-format",
    type=click.Choice([one.value for one in LogFormat]),
    default=LogFormat.TEXT.value,
    show_default=True,
    help="Of the log, on standard error: lines for people, or a JSON object each.",
)
@click.option(
    "--wait-for-up", is_flag=True, help="Start without a pipeline, and say so until one is up."
)
@heal_timeout_option
@give_up_after_option
@journal_option
@draft_model_option
@click.option(
    "--install", is_flag=True, help="Have systemd start this server, with the other options given."
)
@click.option("--uninstall", is_flag=True, help="Take back what --install did.")
@click.option(
    "--system",
    is_flag=True,
    help="With --install: of the whole system, for root. [default: this user's service]",
)
@cluster_option
@leading_out
def serve(
    host: str,
    port: int,
    hosts: tuple[str, ...],
    origins: tuple[str, ...],
    certificate: Path | None,
    key: Path | None,
    own_tls: bool,
    strict_model: bool,
    embeddings: str | None,
    insecure: bool,
    log_prompts: Path | None,
    log_format: str,
    wait_for_up: bool,
    heal_timeout_s: float,
    give_up_after_s: float,
    keeps_journal: bool,
    draft_model: str | None,
    install: bool,
    uninstall: bool,
    system: bool,
    cluster: str,
) -> None:
    """Serve the model over HTTP, to programs and people."""
    settings = ServerSettings(host, port)
    if bool(certificate) != bool(key) or (certificate and own_tls):
        raise click.UsageError("--tls-cert and --tls-key belong together, and without --tls")
    service = ServerService(cluster, system)
    if uninstall:
        _uninstall(service)
        return
    if install:
        keys_for(cluster, host, insecure)
        _install(service)
        return
    with ExitStack() as entered:
        form = LogFormat(log_format)
        entered.enter_context(server_log(form))
        keys = keys_for(cluster, host, insecure)
        tls, renew = None, None
        if own_tls:
            tls, renew = own_certificate(cluster, hosts)
        elif certificate and key:
            tls = given_certificate(certificate, key)
        given = _given_draft(draft_model)
        if not wait_for_up:
            record = load_record(cluster)  # whoever starts it by hand is told before all else
            if given:
                given(record)
        door = entered.enter_context(LocalDoor(cluster))
        listener = entered.enter_context(listen(settings))
        prompts = entered.enter_context(PromptLog(log_prompts)) if log_prompts else None
        admission = Admission(hosts, frozenset(origins), keys)
        address, chosen = listener.getsockname()[:2]
        shown = f"[{address}]" if listener.family == socket.AF_INET6 else address
        url = f"{'https' if tls else 'http'}://{shown}:{chosen}"
        door.announce(url, [f"{shown}:{chosen}"], needs_key=keys.are_needed)
        note(f"serving on {url}")
        # The server raises its signal again once it has ended, and what is entered must be left.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        entered.enter_context(suppress(KeyboardInterrupt))
        listeners = [listener, door.listener]
        if not has_record(cluster):
            why = f"no pipeline is up in cluster {cluster!r}: {bring_one_up(cluster)}"
            note(f"{why}; waiting for it")
            serve_until(lambda: has_record(cluster), why, listeners, admission, tls)

        def connect() -> PipelineClient:
            record = load_record(cluster)
            return serving_client(
                *(record, dialer_to_ask(cluster, record), notices(form), settings.max_waiting),
                *(heal_timeout_s, give_up_after_s, DraftsHere(notices(form), given)),
            )

        keeper = Keeper(journal_of(cluster)) if keeps_journal else None
        if keeper:
            keeper.tidy()
            entered.callback(keeper.close)
        desk = Desk(connect(), connect, prompts, keeper)
        entered.callback(desk.close)

        def every_hour() -> None:
            if renew:
                renew()
            if keeper:
                keeper.tidy()

        pooling = Pooling(embeddings) if embeddings else None
        app = guarded(make_app(desk, strict_model=strict_model, embeddings=pooling), admission)
        run_server(
            *(app, listeners, settings.limits, tls), on_stop=desk.stop, every_hour=every_hour
        )


def _given_draft(draft_model: str | None) -> "GivenDraft | None":
    if draft_model is None:
        return None
    from pi_cluster.deploy.drafting.choosing import GivenDraft

    return GivenDraft(model_of(draft_model))


def _uninstall(service: ServerService) -> None:
    was_there = service.uninstall()
    note(f"{service.unit_name} is {'removed' if was_there else 'not installed'}")


def _install(service: ServerService) -> None:
    context = click.get_current_context()
    of_the_service = ("install", "uninstall", "system", "cluster", "wait_for_up")
    words = [
        word
        for option in context.command.params
        if option.name and option.name not in of_the_service
        for word in _words(option, context.params[option.name])
    ]
    service.install([*words, "--wait-for-up"])
    note(f"{service.unit_name} runs, and starts again by itself: `{service.log_command}`")
    if not service.is_system:
        note("to have it start with this machine, run `loginctl enable-linger` once")


def _words(option: click.Parameter, value: object) -> list[str]:
    """An option as it is typed, wherever it will be run."""
    name = option.opts[0]
    if isinstance(option, click.Option) and option.is_flag:
        return [name] if value is option.flag_value else []
    match value:
        case None:
            return []
        case tuple():
            return [word for one in value for word in _words(option, one)]
        case Path():
            return [name, str(value.absolute())]
    return [name, str(value)]
