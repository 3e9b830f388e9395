"""Calls past our own client: any bytes, to any method, with any certificate or none."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc

from pi_cluster.cluster.errors import ClusterError
from pi_cluster.cluster.trust.certificates import server_name
from pi_cluster.cluster.trust.credentials import load_credentials
from pi_cluster.cluster.trust.identity import Role
from pi_cluster.cluster.wire.failures import carried_error
from pi_cluster.cluster.wire.options import CLIENT_OPTIONS
from pi_cluster.protos import pi_cluster_pb2 as pb

METHODS = {
    f"/{service.full_name}/{method.name}": method
    for service in pb.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}
"""Every method of the protocol by its full name."""


@contextmanager
def secure_channel(
    address: str, node_id: str, folder: Path | None, role: Role, authorities: bytes = b""
) -> Iterator[grpc.Channel]:
    """A channel with a folder's certificate, or with none and these authorities."""
    if folder is None:
        credentials = grpc.ssl_channel_credentials(authorities)
    else:
        held = load_credentials(folder, role)
        credentials = grpc.ssl_channel_credentials(
            held.authorities_pem, held.key_pem, held.certificate_pem
        )
    name = ("grpc.ssl_target_name_override", server_name(node_id))
    with grpc.secure_channel(address, credentials, options=[*CLIENT_OPTIONS, name]) as channel:
        yield channel


def call(
    channel: grpc.Channel, method: str, messages: Iterable[bytes], timeout_s: float = 20.0
) -> tuple[grpc.StatusCode, ClusterError | None]:
    """Send messages, take all answers; returns how the call ended, and the error it carried."""
    stream = channel.stream_stream(method)(iter(list(messages)), timeout=timeout_s)
    try:
        for _ in stream:
            pass
    except grpc.RpcError as error:
        return error.code(), carried_error(error, "the node")
    return grpc.StatusCode.OK, None
