"""The worker's port: TLS with the node's certificate, also after that was renewed."""

import grpc

from pi_cluster.cluster.trust.credentials import Credentials, LiveCredentials


def server_credentials(live: LiveCredentials) -> grpc.ServerCredentials:
    """What the server shows and asks for: every caller needs a certificate of the cluster.

    Each new connection gets the certificate of that moment; those that are open stay.
    """
    shown = live.current

    def renewed() -> grpc.ServerCertificateConfiguration | None:
        nonlocal shown
        now = live.current
        if now is shown:
            return None
        shown = now
        return _configuration(now)

    return grpc.dynamic_ssl_server_credentials(
        _configuration(shown),
        renewed,  # type: ignore[arg-type]  # None keeps what is shown, as gRPC's documentation says
        require_client_authentication=True,
    )


def _configuration(credentials: Credentials) -> grpc.ServerCertificateConfiguration:
    pair = (credentials.key_pem, credentials.certificate_pem)
    return grpc.ssl_server_certificate_configuration([pair], credentials.authorities_pem)
