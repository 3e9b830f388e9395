"""How a method that fails answers its call: with a reason that the caller can show."""

import functools
import logging
from collections.abc import Callable
from typing import Any

import grpc

from pi_cluster.cluster.errors import ClusterError, NodeError, StoreError, SystemFailure
from pi_cluster.cluster.log_fields import LogFields
from pi_cluster.cluster.system_failure import system_failure
from pi_cluster.cluster.wire.failures import refuse
from pi_cluster.kernels import KernelsError
from pi_cluster.transformer.errors import ModelError

log = logging.getLogger(__name__)

_MOST_SESSION = 64

Method = Callable[..., Any]
"""Of a servicer that has a ``name``: takes it, a request and a context."""


def answering(method: Method) -> Method:
    """Turn what a method raises into a reason that the caller can show."""

    @functools.wraps(method)
    def answer(self: Any, request: Any, context: grpc.ServicerContext) -> Any:
        try:
            return method(self, request, context)
        except Exception as error:
            _tell_failure(context, self.name, method.__name__, error, request)

    return answer


def streaming(method: Method) -> Method:
    """As :func:`answering`, for a method that yields its answers."""

    @functools.wraps(method)
    def answer(self: Any, request: Any, context: grpc.ServicerContext) -> Any:
        try:
            yield from method(self, request, context)
        except Exception as error:
            _tell_failure(context, self.name, method.__name__, error, request)

    return answer


def _tell_failure(
    context: grpc.ServicerContext, node: str, method: str, error: Exception, request: Any
) -> None:
    """Answer a call with the reason it failed; an error we did not foresee goes to the log.

    What is wrong with this machine and its files is told with the ``node``'s name.
    """
    traceback, error.__traceback__ = error.__traceback__, None
    # A session keeps its error, and the error's traceback would keep the call: that is garbage in
    # a circle, and gRPC counts it as an open stream of the connection until it is collected.
    about = _fields(request, context)
    if isinstance(error, StoreError):
        log.warning("%s failed: %s", method, error, extra=about)
        refuse(context, type(error)(f"{node}: {error}"))
    elif isinstance(error, ClusterError):
        log.info("%s refused: %s", method, error, extra=about)
        refuse(context, error)
    elif isinstance(error, ModelError | KernelsError):
        log.warning("%s failed: %s", method, error, extra=about)
        refuse(context, NodeError(f"{node}: {error}"))
    elif isinstance(error, OSError) and error.errno:
        log.error("%s failed: %s", method, error, extra=about)
        refuse(context, SystemFailure(f"{node}: {system_failure(error, node)}"))
    elif isinstance(error, grpc.RpcError):
        log.info("%s broke off: the caller has gone", method, extra=about)
        refuse(context, NodeError("the call broke off"))
    elif isinstance(error, MemoryError):
        log.error("%s ran out of memory", method, extra=about)
        refuse(context, NodeError(f"{node} ran out of memory: end other programs there"))
    else:
        log.error("%s failed", method, exc_info=error.with_traceback(traceback), extra=about)
        error.__traceback__ = None
        refuse(context, NodeError(f"{method} failed on {node}; its log tells why"))


def _fields(request: Any, context: grpc.ServicerContext) -> LogFields:
    """Who called, and of which pipeline and session where the request says so; a stream does not.

    Names of sessions are as long as their callers like.
    """
    fields = LogFields(caller=context.peer())
    if isinstance(epoch := getattr(request, "epoch", None), int):
        fields["epoch"] = epoch
    if isinstance(session := getattr(request, "session", None), str):
        fields["session"] = session[:_MOST_SESSION]
    return fields
