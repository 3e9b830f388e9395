"""Certificates of nodes, renewed past half of their life by whatever command comes along."""

import logging
from collections.abc import Sequence

from pi_cluster.cluster import settings
from pi_cluster.cluster.trust.authority import ClusterAuthority
from pi_cluster.cluster.trust.holdings import is_initialised
from pi_cluster.cluster.wire.client import NodeClient
from pi_cluster.cluster.wire.dialing import Dialer
from pi_cluster.coordinator.pipeline.nodes import Node, ask_all
from pi_cluster.coordinator.pipeline.trust_updates import Member, reissue, tell
from pi_cluster.coordinator.records.access import dialer_for
from pi_cluster.coordinator.records.certified_access import wants_renewal
from pi_cluster.coordinator.records.pipeline_record import PipelineRecord

log = logging.getLogger(__name__)


def renew_due(authority: ClusterAuthority, record: PipelineRecord) -> list[str]:
    """Renew for the nodes of a pipeline, of whom nobody is asked while none is due."""
    ends = {one.id: one.expires_unix_s for one in authority.good}  # the newest come last
    held = [stage for stage in record.addresses if stage.node_id in ends]
    due = [stage.peer for stage in held if wants_renewal(ends[stage.node_id])]
    if not due:
        return []
    dialer = dialer_for(authority.cluster)
    # Who does not answer is named by the command itself.
    nodes = [one for one in ask_all(due, dialer) if isinstance(one, Node)]
    return bring_up_to_date(authority, nodes, dialer)


def renew_certificates(cluster: str, nodes: Sequence[Node], dialer: Dialer) -> list[str]:
    """:func:`bring_up_to_date` where the cluster has certificates."""
    folder = settings.cluster_config(cluster)
    if not is_initialised(folder):
        return []
    return bring_up_to_date(ClusterAuthority(folder, cluster), nodes, dialer)


def bring_up_to_date(
    authority: ClusterAuthority, nodes: Sequence[Node], dialer: Dialer
) -> list[str]:
    """Renew certificates past half of their life, and push newer revocation lists.

    Returns warnings about nodes where that failed.
    """

    def act(client: NodeClient, node: Node) -> None:
        if wants_renewal(node.about.certificate_expires_unix_s):
            reissue(authority, client, node)
        elif node.about.revocations_number < authority.revocations_number:
            client.certify(authority.news)

    by_id = {one.id: one for one in authority.issued}
    members = [
        Member(by_id[node.about.node_id], node) for node in nodes if node.about.node_id in by_id
    ]
    return [
        f"{one.issued.name} did not get its new certificate or revocation list: {one.problem}"
        for one in tell(members, act, dialer)
    ]
