"""What this user may do about a lost pipeline, by the credentials that lie here.

    operator     load stages, send shards from here, and have nodes hand them to each other
    healer       the same without sending: the model that is up, on nodes that its operator has told
                 of it (`pi-cluster grant NAME --may-heal`)
    coordinator  ask again, wait, and follow a pipeline that somebody else has mended

In a cluster without certificates everybody is an operator.
"""

import logging

from pi_cluster.cluster import settings
from pi_cluster.cluster.discovery.rediscovery import Rediscovering
from pi_cluster.cluster.errors import AccessError
from pi_cluster.cluster.trust.holdings import held_role, is_initialised
from pi_cluster.cluster.trust.identity import Role
from pi_cluster.cluster.wire.dialing import Dialer
from pi_cluster.coordinator.records.access import dialer_for, still_insecure
from pi_cluster.coordinator.records.pipeline_record import PipelineRecord

log = logging.getLogger(__name__)


def own_role(cluster: str) -> Role:
    """What this user is; a coordinator where no certificate of this cluster lies here."""
    folder = settings.cluster_config(cluster)
    if not is_initialised(folder):
        return Role.OPERATOR
    return held_role(folder, Role.OPERATOR, Role.HEALER) or Role.COORDINATOR


def may_send(cluster: str) -> bool:
    """Whether this user may send shards to nodes."""
    return own_role(cluster) is Role.OPERATOR


def dialer_to_load(cluster: str, record: PipelineRecord) -> Dialer | None:
    """What calls the nodes as somebody who may load stages; None where this user is nobody such."""
    if own_role(cluster) is Role.COORDINATOR:
        return None
    try:
        dialer = dialer_for(cluster, still_insecure(cluster, record.insecure), Role.HEALER)
    except AccessError as error:
        log.warning("stages cannot be loaded from here: %s", error)
        return None
    return Rediscovering(dialer, cluster)
