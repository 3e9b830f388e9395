"""How failures cross the network, and what strangers' texts become on the way."""

import contextlib
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NoReturn

import grpc
from google.protobuf.message import Message

from pi_cluster.cluster import errors
from pi_cluster.cluster.errors import ClusterError, NodeError, NodeLost
from pi_cluster.cluster.shown import shown_line

_ERROR_KEY = "pi-cluster-error"
_NODES_KEY = "pi-cluster-nodes"
_AWAITED_KEY = "pi-cluster-awaited-ms"
_MILLISECONDS = re.compile(r"[0-9]{1,9}")
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


def refuse(
    context: grpc.ServicerContext,
    error: ClusterError,
    code: grpc.StatusCode = grpc.StatusCode.FAILED_PRECONDITION,
) -> NoReturn:
    """End a call with an error that :func:`carried_error` restores on the other side."""
    about = [(_ERROR_KEY, type(error).__name__)]
    if isinstance(error, NodeLost):
        about += _lost_on_wire(error)
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
    if kind is not None and issubclass(kind, NodeLost):
        ids = _node_ids(trailing.get(_NODES_KEY, ""))
        return kind(details, ids, awaited_s=_seconds(trailing.get(_AWAITED_KEY, "")))
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


def _lost_on_wire(lost: NodeLost) -> list[tuple[str, str]]:
    fields = []
    if lost.node_ids:
        fields.append((_NODES_KEY, ",".join(lost.node_ids[:_MAX_NODES])))
    if lost.was_awaited:
        fields.append((_AWAITED_KEY, str(int(lost.awaited_s * 1000))))
    return fields


def _seconds(text: str) -> float:
    """Of milliseconds as they came over the wire; none where they cannot be a time."""
    return int(text) / 1000 if _MILLISECONDS.fullmatch(text) else 0.0


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
        # Not by a variable here: the error's traceback would hold it, in a circle with the call.
        raise _restored(error, peer, explain) from None


def _restored(
    error: grpc.RpcError, peer: str, explain: Callable[[], ClusterError | None]
) -> ClusterError:
    carried = carried_error(error, peer)
    if isinstance(carried, NodeLost) and error.code() is grpc.StatusCode.UNAVAILABLE:
        return explain() or carried
    return carried
