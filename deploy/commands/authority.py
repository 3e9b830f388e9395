"""``pi-cluster authority``: who signs this cluster's certificates, and putting another in place."""

import click

from pi_cluster.cluster import settings
from pi_cluster.cluster.advice import command
from pi_cluster.cluster.trust.authority import ClusterAuthority
from pi_cluster.cluster.trust.identity import Role
from pi_cluster.coordinator.pipeline.trust_updates import rotate as rotate_authority
from pi_cluster.deploy.calling import dialer_for
from pi_cluster.deploy.commands.options import cluster_option, nodes_option
from pi_cluster.deploy.screen import output
from pi_cluster.deploy.taking_turns import in_turn


@click.command()
@cluster_option
def show(cluster: str) -> None:
    """Show the authority's hash, its folder, and until when it is valid."""
    opened = ClusterAuthority(settings.cluster_config(cluster), cluster)
    rows = [
        ("cluster", cluster),
        ("SHA-256 of its key", opened.fingerprint.hex()),
        ("valid until", f"{opened.certificate.not_valid_after_utc:%Y-%m-%d}"),
        ("folder", str(opened.folder)),
        ("certificates", str(len({one.id for one in opened.good}))),
        ("revocation list", f"number {opened.revocations_number}"),
        ("rotation", _rotation(opened)),
    ]
    for name, value in rows:
        click.echo(f"{name + ':':<20}{value}")


@click.command()
@nodes_option
@click.option("--leave-behind", is_flag=True, help="Go on without nodes that cannot be reached.")
@cluster_option
def rotate(nodes: str | None, leave_behind: bool, cluster: str) -> None:
    """Replace the authority and every certificate.

    The cluster goes on working meanwhile. Interrupted, the same command goes on. Join tokens and
    grants from before are worth nothing afterwards.
    """
    with in_turn(cluster):
        opened = ClusterAuthority(settings.cluster_config(cluster), cluster)
        granted = sorted({one.name for one in opened.good if one.role is not Role.NODE})
        with output.notes.status("replacing the authority"):
            behind = rotate_authority(opened, dialer_for(cluster), nodes, leave_behind)
    output.notes.print(
        f"cluster {cluster!r} has a new authority ({opened.fingerprint.hex()[:16]}): keep a backup "
        f"of {opened.folder}",
        soft_wrap=True,
    )
    output.warn(
        f"{one.issued.name} was left behind and has to join again: {one.problem}" for one in behind
    )
    output.warn(f"the grant of {name} is worth nothing now: make a new one" for name in granted)


def _rotation(opened: ClusterAuthority) -> str:
    if opened.has_successor or opened.has_predecessor:
        return f"unfinished: run `{command(opened.cluster, 'authority', 'rotate')}` again"
    return "none under way"
