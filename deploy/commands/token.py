"""``pi-cluster token``: secrets by which nodes join, each for one node and a short time."""

import datetime
import re

import click

from pi_cluster.cluster import settings
from pi_cluster.cluster.advice import command
from pi_cluster.cluster.errors import AccessError
from pi_cluster.cluster.trust.authority import ClusterAuthority
from pi_cluster.cluster.trust.tokens import TokenBook
from pi_cluster.cluster.version import VERSION
from pi_cluster.deploy.commands.options import cluster_option
from pi_cluster.deploy.hosts.cloud_init import user_data
from pi_cluster.deploy.screen import output
from pi_cluster.deploy.screen.tables import FittedTable, names, whole

_UNITS = {"m": 60, "h": 3_600, "d": 86_400}
_LONGEST_S = 30 * 86_400


def _seconds(_context: click.Context, _option: click.Parameter, value: str) -> int:
    parts = re.fullmatch(r"([0-9]{1,4})([mhd])", value)
    seconds = int(parts[1]) * _UNITS[parts[2]] if parts else 0
    if not 0 < seconds <= _LONGEST_S:
        raise click.BadParameter(f"{value!r} is no time up to 30d, as in 30m, 1h or 2d")
    return seconds


@click.command()
@click.option("--count", type=click.IntRange(1, 64), default=1, show_default=True, help="How many.")
@click.option(
    "--valid",
    callback=_seconds,
    default="1h",
    show_default=True,
    metavar="TIME",
    help="Until when they can be used, from now: 30m, 1h, 2d.",
)
@click.option(
    "--cloud-init",
    "as_cloud_init",
    is_flag=True,
    help="Print user-data for Raspberry Pi Imager or cloud-init instead of commands.",
)
@click.option(
    "--source",
    default=f"pi-cluster=={VERSION}",
    show_default=True,
    help="What pip installs in --cloud-init: a version, or a wheel's address.",
)
@cluster_option
def create(count: int, valid: int, as_cloud_init: bool, source: str, cluster: str) -> None:
    """Make tokens, and print for each the line to paste on a Pi.

    A token is a secret until it is used or expires.
    """
    authority = ClusterAuthority(settings.cluster_config(cluster), cluster)
    book = TokenBook(authority.folder)
    for number in range(count):
        made = book.create(authority.fingerprint, valid)
        if as_cloud_init:
            click.echo("---\n" * bool(number) + user_data(made, cluster, source), nl=False)
        else:
            click.echo(f"sudo {command(cluster, 'join', made.text)}")
    output.notes.print(
        f"each is for one Pi. Once they run: {command(cluster, 'up')}, which admits them",
        markup=False,
        soft_wrap=True,
    )


@click.command("list")
@cluster_option
def list_tokens(cluster: str) -> None:
    """Show tokens and what became of them; not their secrets."""
    authority = ClusterAuthority(settings.cluster_config(cluster), cluster)
    rows = [
        (entry.id, entry.state, _time(entry.expires_unix_s), entry.used_by)
        for entry in TokenBook(authority.folder).entries
    ]
    columns = [whole("token"), whole("state"), whole("expires"), names("used by")]
    output.answers.print(FittedTable(columns, rows))


@click.command()
@click.argument("token_id", metavar="ID")
@cluster_option
def revoke(token_id: str, cluster: str) -> None:
    """Let nobody join by a token any more; the nodes that did stay."""
    authority = ClusterAuthority(settings.cluster_config(cluster), cluster)
    book = TokenBook(authority.folder)
    if all(entry.id != token_id for entry in book.entries):
        listing = command(cluster, "token", "list")
        raise AccessError(f"there is no token {token_id!r}: see `{listing}`")
    book.revoke(token_id)
    output.notes.print(f"token {token_id} is revoked", markup=False)


def _time(unix_s: float) -> str:
    return f"{datetime.datetime.fromtimestamp(unix_s).astimezone():%Y-%m-%d %H:%M}"
