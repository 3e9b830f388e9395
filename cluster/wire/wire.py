"""How bytes, versions and failures cross the network: gRPC options, arrays, errors."""

import contextlib
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NoReturn

import grpc
import numpy as np
from google.protobuf.message import Message
from numpy.typing import NDArray

from pi_cluster.cluster import errors, settings
from pi_cluster.cluster.errors import ClusterError, NodeError, NodeLost, VersionError
from pi_cluster.cluster.shown import shown_line

WIRE_VERSION = 1

_ERROR_KEY = "pi-cluster-error"
_NODES_KEY = "pi-cluster-nodes"
_MAX_NODES = 8
_NODE_ID = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
# gRPC carries the reason in a header of at most 8 KiB, where a byte may take three.
_MAX_REASON_BYTES = 2_000
_MAX_TEXT = 1_000  # characters of what a node tells of itself; the longest is an error's reason
_CARRIED = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, ClusterError)
}

_KEEPALIVE = [
    ("grpc.keepalive_time_ms", settings.KEEPALIVE_TIME_MS),
    ("grpc.keepalive_timeout_ms", settings.KEEPALIVE_TIMEOUT_MS),
    ("grpc.http2.ping_timeout_ms", settings.PING_TIMEOUT_MS),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
]
_MAX_SENT = ("grpc.max_send_message_length", settings.MAX_MESSAGE_BYTES)
CLIENT_OPTIONS = [
    *_KEEPALIVE,
    _MAX_SENT,
    ("grpc.max_receive_message_length", settings.MAX_MESSAGE_BYTES),
    ("grpc.enable_http_proxy", 0),
]
SERVER_OPTIONS = [
    *_KEEPALIVE,
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


def pack(array: NDArray[np.generic]) -> bytes:
    """The array's elements, little-endian, row after row."""
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def unpack_floats(data: bytes, columns: int) -> NDArray[np.float32]:
    """Rows of ``columns`` float32 each. Raises ``NodeError`` when the bytes are no whole rows."""
    if columns < 1 or len(data) % (4 * columns):
        raise NodeError(f"{len(data)} bytes are no whole rows of {columns} numbers")
    return np.frombuffer(data, "<f4").astype(np.float32, copy=False).reshape(-1, columns)


def unpack_ids(data: bytes) -> NDArray[np.int32]:
    """Token ids. Raises ``NodeError`` when the bytes are no whole numbers."""
    if len(data) % 4:
        raise NodeError(f"{len(data)} bytes are no whole token ids")
    return np.frombuffer(data, "<i4").astype(np.int32, copy=False)


def check_wire_version(version: int, peer: str) -> None:
    """Raise ``VersionError``, naming the older side, unless ``peer`` speaks our version."""
    if version == WIRE_VERSION:
        return
    older = "this machine" if version > WIRE_VERSION else peer
    raise VersionError(
        f"{peer} speaks version {version} of the wire protocol, this machine {WIRE_VERSION}: "
        f"update pi-cluster on {older}"
    )


def refuse(
    context: grpc.ServicerContext,
    error: ClusterError,
    code: grpc.StatusCode = grpc.StatusCode.FAILED_PRECONDITION,
) -> NoReturn:
    """End a call with an error that :func:`carried_error` restores on the other side."""
    about = [(_ERROR_KEY, type(error).__name__)]
    if isinstance(error, NodeLost) and error.node_ids:
        about.append((_NODES_KEY, ",".join(error.node_ids[:_MAX_NODES])))
    context.set_trailing_metadata(tuple(about))
    # A file name that is not UTF-8 becomes question marks rather than another failure.
    reason = str(error).encode(errors="replace")[:_MAX_REASON_BYTES]
    context.abort(code, reason.decode(errors="ignore"))
    raise AssertionError("abort raises")


def carried_error(error: grpc.RpcError | grpc.Call, peer: str, node_id: str = "") -> ClusterError:
    """The error a peer gave as its reason, or what the failure of the call itself means.

    Where the peer itself is lost, the error names ``node_id``.
    """
    code, details = error.code(), shown_line(error.details() or "")[:_MAX_REASON_BYTES]
    pairs: Iterable[Any] = error.trailing_metadata() or ()
    trailing: dict[str, Any] = dict(pairs)
    kind = _CARRIED.get(trailing.get(_ERROR_KEY, ""))
    if kind is NodeLost:
        return NodeLost(details, _node_ids(trailing.get(_NODES_KEY, "")))
    if kind is not None:
        return kind(details)
    if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
        # gRPC tells the whole story of the attempt; the reason stands at its end.
        reason = (details or code.name).rsplit(": ", 1)[-1]
        return NodeLost(
            f"{peer} does not answer ({reason}): see whether its worker runs",
            [node_id] if node_id else (),
        )
    return NodeError(f"{peer}: {details} ({code.name})")


def readable(message: Message) -> None:
    """Make every text in an answer, which the node may have chosen freely, fit to be shown."""
    for field, value in message.ListFields():
        if field.type == field.TYPE_MESSAGE:
            for inner in value if field.is_repeated else [value]:
                readable(inner)
        elif field.type == field.TYPE_STRING and field.is_repeated:
            value[:] = [_readable(text) for text in value]
        elif field.type == field.TYPE_STRING:
            setattr(message, field.name, _readable(value))


def _readable(text: str) -> str:
    return shown_line(text[:_MAX_TEXT])


def _node_ids(text: str) -> list[str]:
    """As they came over the wire; what cannot be ids is left out."""
    return [part for part in text.split(",", _MAX_NODES)[:_MAX_NODES] if _NODE_ID.fullmatch(part)]


@contextlib.contextmanager
def restored_errors(
    peer: str, explain: Callable[[], ClusterError | None] = lambda: None
) -> Iterator[None]:
    """Turn a failed call within the block into the ``ClusterError`` it stands for.

    Where gRPC says no more than that the peer cannot be reached, ``explain`` may know why.
    """
    try:
        yield
    except grpc.RpcError as error:
        carried = carried_error(error, peer)
        if isinstance(carried, NodeLost) and error.code() is grpc.StatusCode.UNAVAILABLE:
            carried = explain() or carried
        raise carried from None
