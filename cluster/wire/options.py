"""The settings of gRPC that both sides need, and the version of what they say."""

from pi_cluster.cluster import settings
from pi_cluster.cluster.errors import VersionError

WIRE_VERSION = 3

_KEEPALIVE = [
    ("grpc.keepalive_time_ms", settings.KEEPALIVE_TIME_MS),
    ("grpc.keepalive_timeout_ms", settings.KEEPALIVE_TIMEOUT_MS),
    ("grpc.http2.ping_timeout_ms", settings.PING_TIMEOUT_MS),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
]
_WINDOW = [
    ("grpc.http2.lookahead_bytes", settings.WINDOW_BYTES),
    ("grpc.http2.bdp_probe", 0),  # it would make the window larger
]
_MAX_SENT = ("grpc.max_send_message_length", settings.MAX_MESSAGE_BYTES)
CLIENT_OPTIONS = [
    *_KEEPALIVE,
    *_WINDOW,
    _MAX_SENT,
    ("grpc.max_receive_message_length", settings.MAX_MESSAGE_BYTES),
    ("grpc.enable_http_proxy", 0),
]
_APART = ("grpc.use_local_subchannel_pool", 1)
SERVER_OPTIONS = [
    *_KEEPALIVE,
    *_WINDOW,
    _MAX_SENT,
    # A server drops peers that ping more often than this; its default is 300 s.
    ("grpc.http2.min_recv_ping_interval_without_data_ms", settings.KEEPALIVE_TIME_MS // 2),
    # On a busy machine pings arrive late and together; a session must not end over that.
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.max_receive_message_length", settings.MAX_REQUEST_BYTES),
    ("grpc.max_concurrent_streams", settings.MAX_STREAMS),
    ("grpc.server_handshake_timeout_ms", settings.HANDSHAKE_TIMEOUT_MS),
    ("grpc.max_connection_idle_ms", settings.IDLE_TIMEOUT_MS),
    ("grpc.max_allowed_incoming_connections", settings.MAX_CONNECTIONS),
    # By default a second server could listen on the same port and take half of the calls.
    ("grpc.so_reuseport", 0),
]


def client_options(apart: bool) -> list[tuple[str, int]]:
    """Of a channel; one ``apart`` shares no connection with others."""
    return [*CLIENT_OPTIONS, _APART] if apart else CLIENT_OPTIONS


def check_wire_version(version: int, peer: str) -> None:
    """Raise ``VersionError``, naming the older side, unless ``peer`` speaks our version."""
    if version == WIRE_VERSION:
        return
    older = "this machine" if version > WIRE_VERSION else peer
    raise VersionError(
        f"{peer} speaks version {version} of the wire protocol, this machine {WIRE_VERSION}: "
        f"update pi-cluster on {older}"
    )
