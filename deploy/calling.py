"""How commands call the nodes of a cluster: what must be warned of is shown first."""

from pi_cluster.cluster import settings
from pi_cluster.cluster.trust.holdings import is_initialised
from pi_cluster.cluster.trust.identity import Role
from pi_cluster.cluster.wire.dialing import Dialer
from pi_cluster.coordinator.pipeline import asker
from pi_cluster.coordinator.records import access
from pi_cluster.coordinator.records.access import still_insecure
from pi_cluster.coordinator.records.pipeline_record import PipelineRecord
from pi_cluster.deploy.screen import output


def dialer_for(cluster: str, insecure: bool = False, role: Role = Role.OPERATOR) -> Dialer:
    """What opens channels to the cluster's nodes, as its operator or as a coordinator."""
    _warn_if_insecure(cluster, insecure)
    return access.dialer_for(cluster, insecure, role, output.warn_of)


def dialer_to_ask(cluster: str, record: PipelineRecord) -> Dialer:
    """What opens channels to the pipeline that is up, as a coordinator."""
    _warn_if_insecure(cluster, still_insecure(cluster, record.insecure))
    return asker.dialer_to_ask(cluster, record, output.warn_of)


def _warn_if_insecure(cluster: str, insecure: bool) -> None:
    if insecure and not is_initialised(settings.cluster_config(cluster)):
        output.warn_loudly(access.insecure_warning(cluster))
