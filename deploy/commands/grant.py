"""``pi-cluster grant`` and ``accept``: let another machine ask, and heal if it is to."""

from pathlib import Path

import click

from pi_cluster.cluster import settings
from pi_cluster.cluster.advice import command, line
from pi_cluster.cluster.trust.authority import ClusterAuthority
from pi_cluster.deploy.commands.options import cluster_option
from pi_cluster.deploy.membership.grants import accept_grant, make_grant, read_grant, write_grant
from pi_cluster.deploy.screen import output


@click.command()
@click.argument("name")
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="File to write."
)
@click.option(
    "--may-heal",
    is_flag=True,
    help="Let it also bring the model back by itself when nodes are lost, on those that are left.",
)
@cluster_option
def grant(name: str, out: Path, may_heal: bool, cluster: str) -> None:
    """Write a file by which machine NAME may ask the model.

    It may prompt, chat, bench and see the status, and change nothing. With --may-heal it may also
    load the model that is up anew, and no other, when nodes are lost. What ends it is
    `pi-cluster node revoke NAME`. Make it again after `pi-cluster up` with another model.
    """
    authority = ClusterAuthority(settings.cluster_config(cluster), cluster)
    made = make_grant(authority, name, may_heal=may_heal)
    write_grant(made, out)
    output.notes.print(
        f"{out} holds a private key: carry it over safely, run `{line('accept', out.name)}` "
        "there, and delete it",
        markup=False,
        soft_wrap=True,
    )
    if not made.files:
        up = command(cluster, "up")
        output.warn([f"no pipeline is up: make the grant again after `{up}`"])


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def accept(file: Path) -> None:
    """Take up a FILE of `pi-cluster grant`.

    From then on this user may ask that cluster.
    """
    made = read_grant(file)
    accept_grant(made)
    asking = command(made.cluster, "prompt", "Tell me a story.")
    output.notes.print(f"ready. Next: {asking}", markup=False, soft_wrap=True)
