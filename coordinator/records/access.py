"""How this user may call the nodes of a cluster."""

import logging
from collections.abc import Callable

from pi_cluster.cluster import settings
from pi_cluster.cluster.advice import command
from pi_cluster.cluster.errors import AccessError
from pi_cluster.cluster.trust.holdings import held_role, is_initialised
from pi_cluster.cluster.trust.identity import Role
from pi_cluster.cluster.wire.dialing import Dialer, PlainDialer

log = logging.getLogger(__name__)

_ANY_OF = {
    Role.OPERATOR: (Role.OPERATOR,),
    Role.HEALER: (Role.OPERATOR, Role.HEALER),
    Role.COORDINATOR: (Role.COORDINATOR, Role.HEALER),
}
"""Who may do what a role may, the one first whose certificate is shown where there are several."""


def dialer_for(
    cluster: str,
    insecure: bool = False,
    role: Role = Role.OPERATOR,
    warn: Callable[[str], None] = log.warning,
) -> Dialer:
    """What opens channels to the cluster's nodes, as its operator, a healer or a coordinator.

    A cluster that has certificates is called with mutual TLS, always. One without is called in the
    clear and on this machine only, unless ``insecure`` extends that to others. ``warn`` is told of
    a grant that ends soon. Raises ``AccessError`` when this user is not who is needed.
    """
    folder = settings.cluster_config(cluster)
    if not is_initialised(folder):
        return PlainDialer(insecure, cluster)
    if insecure:
        raise AccessError(
            f"cluster {cluster!r} has certificates, and its nodes are called with them: leave "
            "--insecure out, or name another cluster with --cluster"
        )
    held = held_role(folder, *_ANY_OF[role])
    if held is None:
        raise AccessError(
            f"this user may ask cluster {cluster!r} but not change it: run this where "
            f"`{command(cluster, 'init')}` was run"
        )
    from pi_cluster.coordinator.records.certified_access import secure_dialer

    return secure_dialer(cluster, held, warn)


def still_insecure(cluster: str, insecure: bool) -> bool:
    """Whether a pipeline that was brought up without certificates is called so: `init` ends it."""
    return insecure and not is_initialised(settings.cluster_config(cluster))


def insecure_warning(cluster: str) -> str:
    """That anyone on the network may do what we do."""
    return (
        f"WARNING: cluster {cluster!r} is called INSECURELY: without encryption or certificates. "
        "Anyone on this network can read prompts and answers, load weights and use the nodes. "
        f"`{command(cluster, 'init')}` ends this."
    )
