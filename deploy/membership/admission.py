"""Nodes that wait to join: found, made to prove themselves, given certificates.

What mDNS or a list of addresses says of them counts for nothing; the token's secret does, and that
the key of the TLS connection is the one in the signing request, so nobody stands between.
"""

import secrets
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import grpc
from cryptography import x509

from pi_cluster.cluster import settings
from pi_cluster.cluster.discovery.mdns import discover
from pi_cluster.cluster.errors import AccessError, ClusterError, NodeError
from pi_cluster.cluster.shown import shown_line
from pi_cluster.cluster.trust import certificates
from pi_cluster.cluster.trust.authority import ClusterAuthority
from pi_cluster.cluster.trust.certificates import key_hash
from pi_cluster.cluster.trust.holdings import is_initialised
from pi_cluster.cluster.trust.identity import Identity, Role
from pi_cluster.cluster.trust.tokens import NONCE_BYTES, TokenBook
from pi_cluster.cluster.wire.client import NodeClient
from pi_cluster.cluster.wire.dialing import Dialer
from pi_cluster.cluster.wire.failures import restored_errors
from pi_cluster.cluster.wire.handshake import shown_certificate
from pi_cluster.cluster.wire.peer import Peer, parse_nodes
from pi_cluster.cluster.wire.probing import unreachable, ways_to
from pi_cluster.deploy.screen import output
from pi_cluster.protos import pi_cluster_pb2 as pb
from pi_cluster.protos import pi_cluster_pb2_grpc as rpc

_OPTIONS = [("grpc.max_receive_message_length", 64 << 10), ("grpc.enable_http_proxy", 0)]
_START_TIMEOUT_S = 30.0
_RETRY_S = 0.1
_MAX_NAME = 64


@dataclass(frozen=True, slots=True)
class Admission:
    """What became of one node that waits to join."""

    peer: Peer
    refused: ClusterError | None
    """None for a node that was admitted."""


class Admitter:
    """Lets nodes in by the tokens of one cluster."""

    def __init__(
        self,
        authority: ClusterAuthority,
        dialer: Dialer,
        start_timeout_s: float = _START_TIMEOUT_S,
    ) -> None:
        """``start_timeout_s`` is from a node's certificate to its first answer as a worker."""
        self._authority = authority
        self._start_timeout_s = start_timeout_s
        self._dialer = dialer
        self._tokens = TokenBook(authority.folder)

    @property
    def is_open(self) -> bool:
        """Whether there is a token by which a node may still join."""
        return self._tokens.has_open

    def admit_announced(self) -> list[Admission]:
        """Those that mDNS finds, by tokens of ours; who waits for others is left alone."""
        ours = {entry.id for entry in self._tokens.entries}
        found = discover(self._authority.cluster, settings.DISCOVERY_S)
        return self._admit_all([peer for peer in found if peer.joining in ours])

    def admit_named(self, peers: Sequence[Peer]) -> list[Admission]:
        """Those at these addresses that wait to join; others have joined already."""
        with ThreadPoolExecutor(max_workers=min(32, len(peers))) as pool:
            waits = list(pool.map(self._waits_to_join, peers))
        return self._admit_all([peer for peer, yes in zip(peers, waits, strict=True) if yes])

    def _waits_to_join(self, peer: Peer) -> bool:
        try:
            shown = shown_certificate(peer, settings.CONNECT_TIMEOUT_S)
        except ClusterError:
            return False  # whoever asks it next says why
        return shown is not None and shown.issuer == shown.subject

    def _admit_all(self, peers: Sequence[Peer]) -> list[Admission]:
        if not peers:
            return []
        with ThreadPoolExecutor(max_workers=min(32, len(peers))) as pool:
            return list(pool.map(self._admit, peers))

    def _admit(self, peer: Peer) -> Admission:
        failure: ClusterError | None = None
        for address in ways_to(peer, settings.CONNECT_TIMEOUT_S):
            try:
                return Admission(self._let_in(peer.at([address])), None)
            except ClusterError as error:
                failure = failure or error
        return Admission(peer, failure or unreachable(peer))

    def _let_in(self, peer: Peer) -> Peer:
        shown = shown_certificate(peer, settings.CONNECT_TIMEOUT_S)
        if shown is None:
            raise NodeError(f"{peer.label} does not speak TLS, so it is no node that waits to join")
        with pinned_channel(peer, shown) as channel:
            stub = rpc.EnrolmentStub(channel)
            nonce = secrets.token_bytes(NONCE_BYTES)
            with restored_errors(peer.label):
                introduction = stub.Introduce(
                    pb.Challenge(nonce=nonce), timeout=settings.CALL_TIMEOUT_S
                )
            identity = self._proven(peer, shown, nonce, introduction)
            name = shown_line(introduction.name[:_MAX_NAME]) or identity.id
            given = self._authority.issue(introduction.signing_request, identity, name)
            try:
                with restored_errors(peer.label):
                    stub.Admit(given.to_wire(), timeout=settings.CALL_TIMEOUT_S)
            except AccessError as error:
                raise AccessError(f"{peer.label} does not take its certificate: {error}") from None
        admitted = Peer(peer.address, identity.id, name)
        self._await_start(admitted)
        return admitted

    def _proven(
        self, peer: Peer, shown: x509.Certificate, nonce: bytes, introduction: pb.Introduction
    ) -> Identity:
        """Who a node is that has proven to hold one of our tokens, over this very connection."""
        try:
            key = key_hash(certificates.read_signing_request(introduction.signing_request))
            if key != key_hash(shown):
                raise AccessError(
                    "its signing request is for another key than its TLS connection: somebody may "
                    "stand between"
                )
            identity = Identity(self._authority.cluster, Role.NODE, introduction.node_id)
            # Before the token is used up: it lets somebody in, but not as one who is in already.
            self._authority.check_claim(identity, key)
            self._tokens.use(introduction, nonce, key)
        except AccessError as error:
            raise AccessError(f"{peer.label} was not admitted: {error}") from None
        return identity

    def _await_start(self, peer: Peer) -> None:
        """Until the node, which has its certificate now, answers as a worker."""
        deadline = time.monotonic() + self._start_timeout_s
        while True:
            try:
                with NodeClient(peer, self._dialer) as client:
                    client.describe()
                return
            except ClusterError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(_RETRY_S)


def pinned_channel(peer: Peer, shown: x509.Certificate) -> grpc.Channel:
    """A channel that takes this one certificate, whoever signed it."""
    try:
        names = shown.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        name = names.get_values_for_type(x509.DNSName)[0]
    except (ValueError, IndexError, x509.ExtensionNotFound):
        raise AccessError(f"{peer.label} shows a certificate that no joining node has") from None
    credentials = grpc.ssl_channel_credentials(certificates.certificate_pem(shown))
    override = ("grpc.ssl_target_name_override", name)
    return grpc.secure_channel(peer.address, credentials, options=[*_OPTIONS, override])


def admit_waiting(cluster: str, nodes: str | None, dialer: Dialer) -> list[Peer]:
    """Admit who waits by tokens of this cluster, found by mDNS or at these addresses, and tell.

    Without certificates or open tokens there is nobody to admit. Returns who was.
    """
    folder = settings.cluster_config(cluster)
    if not is_initialised(folder):
        return []
    admitter = Admitter(ClusterAuthority(folder, cluster), dialer)
    if not admitter.is_open:
        return []
    with output.notes.status("looking for nodes that wait to join"):
        done = admitter.admit_named(parse_nodes(nodes)) if nodes else admitter.admit_announced()
    for one in done:
        if one.refused is None:
            output.notes.print(f"admitted {one.peer.label}", markup=False, soft_wrap=True)
    output.warn(str(one.refused) for one in done if one.refused)
    return [one.peer for one in done if one.refused is None]
