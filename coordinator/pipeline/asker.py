"""How the pipeline that is up is called by who asks it."""

import logging
from collections.abc import Callable

from pi_cluster.cluster import settings
from pi_cluster.cluster.discovery.rediscovery import Rediscovering
from pi_cluster.cluster.trust.holdings import can_sign
from pi_cluster.cluster.trust.identity import Role
from pi_cluster.cluster.wire.dialing import Dialer
from pi_cluster.coordinator.records.access import dialer_for, still_insecure
from pi_cluster.coordinator.records.pipeline_record import PipelineRecord

log = logging.getLogger(__name__)


def dialer_to_ask(
    cluster: str, record: PipelineRecord, warn: Callable[[str], None] = log.warning
) -> Dialer:
    """What opens channels to the pipeline that is up, as a coordinator, wherever its nodes are now.

    Raises as :func:`dialer_for`. Where the authority is, nodes whose certificates are past half of
    their life get new ones first: a cluster that is asked now and then never stops.
    ``warn`` is told of those that got none.
    """
    insecure = still_insecure(cluster, record.insecure)
    dialer = dialer_for(cluster, insecure, Role.COORDINATOR, warn)
    folder = settings.cluster_config(cluster)
    if can_sign(folder):
        from pi_cluster.cluster.trust.authority import ClusterAuthority
        from pi_cluster.coordinator.pipeline.renewal import renew_due

        for warning in renew_due(ClusterAuthority(folder, cluster), record):
            warn(warning)
    return Rediscovering(dialer, cluster)
