"""A node that has a join token and no certificate: it waits until the operator admits it.

It serves ``Enrolment`` over TLS with a certificate signed by its own new key. Anybody may call it,
and learns its id, name and token's id; only who holds the token's secret can make sense of its
proof, and only the authority that the token pins can sign a certificate that it takes.
"""

import contextlib
import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc

from pi_cluster.cluster import settings
from pi_cluster.cluster.atomic_file import write_bytes
from pi_cluster.cluster.errors import AccessError, ClusterError, NodeError
from pi_cluster.cluster.private_files import make_private_folder, read_private
from pi_cluster.cluster.trust import certificates, signing
from pi_cluster.cluster.trust.certificates import key_hash, utc_now
from pi_cluster.cluster.trust.identity import Identity, Role
from pi_cluster.cluster.trust.issued import Certification
from pi_cluster.cluster.trust.roles import ENROLMENT_RULES
from pi_cluster.cluster.trust.tokens import NONCE_BYTES, Token, introduction_proof
from pi_cluster.cluster.wire.failures import refuse
from pi_cluster.cluster.wire.options import SERVER_OPTIONS
from pi_cluster.protos import pi_cluster_pb2 as pb
from pi_cluster.protos import pi_cluster_pb2_grpc as rpc
from pi_cluster.worker.trust.guard import Guard
from pi_cluster.worker.trust.node_credentials import (
    credentials_folder,
    install_certification,
    is_certified,
    node_identity,
    request_certificate,
)
from pi_cluster.worker.trust.silent_calls import SilentCalls

log = logging.getLogger(__name__)

_TOKEN = "token"  # noqa: S105  a file's name
_CALLS_AT_ONCE = 8
_SILENT_AT_ONCE = 16
_THREADS = 64  # beyond these, made when needed, for whoever is about to be sent away
_LAST_ANSWER_S = 2.0
_MAX_MESSAGE_BYTES = 4 << 20
_OPTIONS = [
    *SERVER_OPTIONS,
    ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
    ("grpc.max_concurrent_streams", 8),
    # Everybody on the network may connect, and an admission takes a second: none stays for long.
    ("grpc.max_connection_idle_ms", 10_000),
    ("grpc.max_connection_age_ms", 60_000),
    ("grpc.max_connection_age_grace_ms", 5_000),
]


def save_token(data_dir: Path, text: str) -> Token:
    """Keep a token for the worker to join by. Raises ``AccessError``: none, or joined already."""
    token = Token.parse(text)
    if is_certified(data_dir):
        raise AccessError(
            "this node is part of a cluster already: run `pi-cluster leave` first (with the "
            "--cluster and --data-dir that it joined with) if it is to join another one, or remove "
            f"{credentials_folder(data_dir)} and {data_dir / 'node.json'}, which keeps its shards"
        )
    make_private_folder(credentials_folder(data_dir))
    write_bytes(_token_path(data_dir), token.text.encode() + b"\n", private=True)
    return token


def waits_to_join(data_dir: Path) -> bool:
    """Whether there is a token and no certificate yet."""
    return _token_path(data_dir).exists() and not is_certified(data_dir)


class Enrolment(rpc.EnrolmentServicer):
    """Joining by one token. ``admitted`` is set once the node has its certificate."""

    def __init__(self, data_dir: Path, cluster: str, name: str) -> None:
        """Makes a new key. Raises ``AccessError`` when the token cannot be read."""
        self.token = Token.parse(read_private(_token_path(data_dir)).decode("ascii", "replace"))
        self.identity: Identity = node_identity(data_dir, cluster)
        self.admitted = threading.Event()
        self._data_dir = data_dir
        self._name = name
        self._admitting = threading.Lock()
        _, self._request = request_certificate(data_dir)

    @property
    def server_credentials(self) -> grpc.ServerCredentials:
        """A certificate that nobody vouches for, with the key of the signing request."""
        pem = read_private(credentials_folder(self._data_dir) / f"{Role.NODE}.key.next")
        key = certificates.read_key(pem)
        shown = signing.make_self_signed(key, self.identity.id, utc_now())
        return grpc.ssl_server_credentials([(pem, certificates.certificate_pem(shown))])

    def Introduce(self, request: pb.Challenge, context: grpc.ServicerContext) -> pb.Introduction:
        if len(request.nonce) != NONCE_BYTES:
            refuse(context, NodeError(f"a nonce has {NONCE_BYTES} bytes"))
        introduction = pb.Introduction(
            node_id=self.identity.id,
            name=self._name,
            token_id=self.token.id,
            signing_request=self._request,
        )
        introduction.proof = introduction_proof(self.token.secret, request.nonce, introduction)
        log.info("introduced this node to %s", context.peer())
        return introduction

    def Admit(self, request: pb.Certification, context: grpc.ServicerContext) -> pb.CertifyReply:
        try:
            with self._admitting:
                if not self.admitted.is_set():
                    self._admit(Certification.from_wire(request))
        except ClusterError as error:
            log.warning("refused to be admitted by %s: %s", context.peer(), error)
            refuse(context, error)
        return pb.CertifyReply()

    def _admit(self, given: Certification) -> None:
        authority = next(
            (
                one
                for one in certificates.read_authorities(given.authorities)
                if key_hash(one) == self.token.authority
            ),
            None,
        )
        if authority is None:
            raise AccessError(
                "the certificate is not from the authority that this node's token pins: it was "
                "refused"
            )
        # Of what came along, nothing is trusted but what the token vouches for.
        pem = certificates.certificate_pem(authority)
        certification = Certification(given.certificate, pem, given.revocations)
        install_certification(self._data_dir, self.identity.cluster, certification)
        _token_path(self._data_dir).unlink()
        self.admitted.set()
        log.info("admitted to cluster %s as node %s", self.identity.cluster, self.identity.id)


@contextlib.contextmanager
def enrolment_server(enrolment: Enrolment) -> Iterator[grpc.Server]:
    """A server that is not bound to a port yet; it gives its last answer before it stops."""
    silent = SilentCalls(_SILENT_AT_ONCE, settings.FIRST_MESSAGE_TIMEOUT_S)
    server = grpc.server(
        ThreadPoolExecutor(_THREADS, "enrol"),
        interceptors=[Guard(ENROLMENT_RULES, None, _CALLS_AT_ONCE, silent)],
        options=_OPTIONS,
        maximum_concurrent_rpcs=_THREADS,
    )
    rpc.add_EnrolmentServicer_to_server(enrolment, server)
    try:
        yield server
    finally:
        server.stop(_LAST_ANSWER_S).wait()


def _token_path(data_dir: Path) -> Path:
    return credentials_folder(data_dir) / _TOKEN
