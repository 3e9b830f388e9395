"""``pi-cluster init``: certificates for a cluster, so that nobody else gets in."""

import click

from pi_cluster.cluster import settings
from pi_cluster.cluster.advice import command
from pi_cluster.cluster.trust.authority import ClusterAuthority
from pi_cluster.deploy.commands.options import cluster_option
from pi_cluster.deploy.screen import output


@click.command()
@cluster_option
def init(cluster: str) -> None:
    """Make the cluster's authority and your certificates.

    From then on it is TLS everywhere. They lie in ~/.config/pi-cluster/CLUSTER, and whoever can
    read that folder owns the cluster.
    """
    folder = settings.cluster_config(cluster)
    authority = ClusterAuthority.create(folder, cluster)
    output.notes.print(
        f"cluster {cluster!r} has an authority now ({authority.fingerprint.hex()[:16]}), in "
        f"{folder}: keep a backup of that folder in a safe place. Next: "
        f"{command(cluster, 'up', '--hosts', 'pi@pi1.local,...')}, or "
        f"{command(cluster, 'token', 'create')}",
        markup=False,
        soft_wrap=True,
    )
