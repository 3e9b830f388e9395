"""How this user calls the nodes of a cluster that has certificates."""

from collections.abc import Callable

from pi_cluster.cluster import settings
from pi_cluster.cluster.advice import command
from pi_cluster.cluster.trust.authority import ClusterAuthority
from pi_cluster.cluster.trust.certificates import utc_now
from pi_cluster.cluster.trust.credentials import LiveCredentials, load_credentials
from pi_cluster.cluster.trust.holdings import has_credentials
from pi_cluster.cluster.trust.identity import Role
from pi_cluster.cluster.trust.signing import CERTIFICATE_LIFE
from pi_cluster.cluster.wire.dialing import Dialer
from pi_cluster.cluster.wire.secure_dialing import SecureDialer


def secure_dialer(cluster: str, role: Role, warn: Callable[[str], None]) -> Dialer:
    """Mutual TLS with this user's certificate for a role, which is renewed first where it is due.

    ``warn`` is told of a grant that ends soon.
    """
    _renew_own(cluster, role, warn)
    return SecureDialer(LiveCredentials(settings.cluster_config(cluster), role))


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
                f"for a new one (`{command(cluster, *role.grant_words)}`)"
            )
