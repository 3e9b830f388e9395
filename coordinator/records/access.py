"""How this user may call the nodes of a cluster."""

import logging
from collections.abc import Callable

from pi_cluster.cluster import settings
from pi_cluster.cluster.advice import command
from pi_cluster.cluster.errors import AccessError
from pi_cluster.cluster.trust.authority import ClusterAuthority, is_initialised
from pi_cluster.cluster.trust.certificates import Role, utc_now
from pi_cluster.cluster.trust.credentials import LiveCredentials, has_credentials, load_credentials
from pi_cluster.cluster.trust.signing import CERTIFICATE_LIFE
from pi_cluster.cluster.wire.dialing import Dialer, PlainDialer, SecureDialer

log = logging.getLogger(__name__)


def dialer_for(
    cluster: str,
    insecure: bool = False,
    role: Role = Role.OPERATOR,
    warn: Callable[[str], None] = log.warning,
) -> Dialer:
    """What opens channels to the cluster's nodes, as its operator or as a coordinator.

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
    if not has_credentials(folder, role):
        raise AccessError(
            f"this user may ask cluster {cluster!r} but not change it: run this where "
            f"`{command(cluster, 'init')}` was run"
        )
    _renew_own(cluster, role, warn)
    return SecureDialer(LiveCredentials(folder, role))


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


def wants_renewal(expires_unix_s: float) -> bool:
    """Whether a certificate is past half of its life."""
    return expires_unix_s - utc_now().timestamp() < CERTIFICATE_LIFE.total_seconds() / 2


def _renew_own(cluster: str, role: Role, warn: Callable[[str], None]) -> None:
    """Renew this user's own certificates in time, where the authority is."""
    folder = settings.cluster_config(cluster)
    if wants_renewal(load_credentials(folder, role).certificate.not_valid_after_utc.timestamp()):
        if has_credentials(folder, Role.OPERATOR):
            ClusterAuthority(folder, cluster).renew_own()
        else:
            warn(
                f"the grant for cluster {cluster!r} is past half of its life: ask its operator "
                f"for a new one (`{command(cluster, 'grant', 'NAME', '--out', 'FILE')}`)"
            )
