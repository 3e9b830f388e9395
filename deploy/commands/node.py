"""``pi-cluster node``: who takes part, and who does not any more."""

import datetime

import click

from pi_cluster.cluster import settings
from pi_cluster.cluster.advice import command
from pi_cluster.cluster.errors import AccessError
from pi_cluster.cluster.trust.authority import ClusterAuthority
from pi_cluster.cluster.trust.ledger import Issued
from pi_cluster.coordinator.pipeline.trust_updates import find_members, tell
from pi_cluster.deploy.calling import dialer_for
from pi_cluster.deploy.commands.options import cluster_option, nodes_option
from pi_cluster.deploy.screen import output
from pi_cluster.deploy.screen.tables import FittedTable, names, whole, words
from pi_cluster.deploy.taking_turns import in_turn


@click.command("list")
@cluster_option
def list_nodes(cluster: str) -> None:
    """Show who has a certificate, until when, and who was revoked."""
    authority = ClusterAuthority(settings.cluster_config(cluster), cluster)
    good = {one.serial for one in authority.good}
    newest = {one.id: one for one in authority.issued}
    rows = [
        (one.name, one.id, one.role.value, _state(one, one.serial in good), _date(one))
        for one in newest.values()
    ]
    columns = [names("name"), whole("id"), whole("role"), words("state"), whole("expires")]
    output.answers.print(FittedTable(columns, rows))


@click.command()
@click.argument("name_or_id")
@nodes_option
@cluster_option
def revoke(name_or_id: str, nodes: str | None, cluster: str) -> None:
    """Shut a node or a granted coordinator out, for ever and at once.

    Every node that can be reached is told now; `pi-cluster up` tells the others.
    """
    with in_turn(cluster):
        authority = ClusterAuthority(settings.cluster_config(cluster), cluster)
        chosen = _chosen(authority, name_or_id)
        authority.revoke(chosen.id)
        dialer = dialer_for(cluster)
        with output.notes.status("telling the other nodes"):
            members = find_members(authority, dialer, nodes)
            deaf = tell(members, lambda client, _: client.certify(authority.news), dialer)
    told = output.count(len(members) - len(deaf), "node")
    output.notes.print(
        f"{chosen.role} {chosen.name} ({chosen.id}) is revoked, and {told} told",
        markup=False,
        soft_wrap=True,
    )
    output.warn(
        f"{one.issued.name} has not heard of it and still lets {chosen.name} in: {one.problem}; "
        f"`{command(cluster, 'up')}` tells it once it can be reached"
        for one in deaf
    )


def _chosen(authority: ClusterAuthority, name_or_id: str) -> Issued:
    newest = {one.id: one for one in authority.issued if not one.revoked}
    found = [one for one in newest.values() if name_or_id in (one.id, one.name)]
    if len(found) == 1:
        return found[0]
    if found:
        ids = ", ".join(one.id for one in found)
        raise AccessError(f"{name_or_id!r} is the name of several: give one of the ids {ids}")
    listing = command(authority.cluster, "node", "list")
    raise AccessError(f"nobody is called {name_or_id!r} here: see `{listing}`")


def _state(one: Issued, is_good: bool) -> str:
    if one.revoked:
        return "revoked"
    return "good" if is_good else "expired or of an older authority"


def _date(one: Issued) -> str:
    return f"{datetime.datetime.fromtimestamp(one.expires_unix_s, datetime.UTC):%Y-%m-%d}"
