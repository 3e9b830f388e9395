"""How commands call the nodes of a cluster: what must be warned of is shown first."""

from pi_cluster.cluster import settings
from pi_cluster.cluster.authority import is_initialised
from pi_cluster.cluster.certificates import Role
from pi_cluster.cluster.dialing import Dialer
from pi_cluster.deploy import access, renewal, screen
from pi_cluster.deploy.access import still_insecure
from pi_cluster.deploy.record import PipelineRecord


def dialer_for(cluster: str, insecure: bool = False, role: Role = Role.OPERATOR) -> Dialer:
    """What opens channels to the cluster's nodes, as its operator or as a coordinator."""
    _warn_if_insecure(cluster, insecure)
    return access.dialer_for(cluster, insecure, role, screen.warn_of)


def dialer_to_ask(cluster: str, record: PipelineRecord) -> Dialer:
    """What opens channels to the pipeline that is up, as a coordinator."""
    _warn_if_insecure(cluster, still_insecure(cluster, record.insecure))
    return renewal.dialer_to_ask(cluster, record, screen.warn_of)


def _warn_if_insecure(cluster: str, insecure: bool) -> None:
    if insecure and not is_initialised(settings.cluster_config(cluster)):
        screen.warn_insecure(cluster)
