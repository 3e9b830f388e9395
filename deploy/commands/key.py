"""``pi-cluster key``: who may ask a server, besides this machine."""

import datetime

import click

from pi_cluster.deploy.commands.options import cluster_option
from pi_cluster.deploy.screen import output
from pi_cluster.deploy.screen.tables import FittedTable, names, whole
from pi_cluster.server.keys import KeyBook


@click.command()
@click.argument("name")
@cluster_option
def create(name: str, cluster: str) -> None:
    """Make a key for NAME, and print it; it is shown this once.

    Programs send it as `Authorization: Bearer KEY`. A server that runs lets it in at once.
    """
    click.echo(KeyBook(cluster).create(name))
    output.notes.print(
        f"this is the key of {name}: keep it now, it cannot be shown again", soft_wrap=True
    )


@click.command("list")
@cluster_option
def list_keys(cluster: str) -> None:
    """Show whose keys there are; not the keys."""
    rows = [(entry.name, _time(entry.created_unix_s)) for entry in KeyBook(cluster).entries]
    output.answers.print(FittedTable([names("key"), whole("created")], rows))


@click.command()
@click.argument("name")
@cluster_option
def revoke(name: str, cluster: str) -> None:
    """Let nobody in by the key of NAME, from the next request on."""
    KeyBook(cluster).revoke(name)
    output.notes.print(f"the key of {name} is revoked", soft_wrap=True)


def _time(unix_s: float) -> str:
    return f"{datetime.datetime.fromtimestamp(unix_s).astimezone():%Y-%m-%d %H:%M}"
