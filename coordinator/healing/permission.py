"""Whether this user may do more about a lost pipeline than ask again and wait."""

import logging

from pi_cluster.cluster.discovery.rediscovery import Rediscovering
from pi_cluster.cluster.errors import AccessError
from pi_cluster.cluster.trust.identity import Role
from pi_cluster.cluster.wire.dialing import Dialer
from pi_cluster.coordinator.records.access import dialer_for, still_insecure
from pi_cluster.coordinator.records.pipeline_record import PipelineRecord

log = logging.getLogger(__name__)


def dialer_to_load(cluster: str, record: PipelineRecord) -> Dialer | None:
    """What calls the nodes as somebody who may load stages; None where this user is nobody such."""
    try:
        dialer = dialer_for(cluster, still_insecure(cluster, record.insecure), Role.OPERATOR)
    except AccessError as error:
        log.info("this user may not load stages: %s", error)
        return None
    return Rediscovering(dialer, cluster)
