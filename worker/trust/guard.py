"""Stands before every method: who calls, may they, is there room, is the message small enough.

Of a message nothing is read before its caller's certificate was found good. Refusals are logged
with caller, method and reason. Without credentials (on loopback, with ``--insecure``, while a node
joins) anybody may call: a caller is then a connection, and has no place until it has spoken.
"""

import contextlib
import functools
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Never, TypeAlias

import grpc
from google.protobuf.message import DecodeError

from pi_cluster.cluster import settings
from pi_cluster.cluster.errors import AccessError, ClusterError, NodeError
from pi_cluster.cluster.log_fields import LogFields
from pi_cluster.cluster.trust.credentials import LiveCredentials
from pi_cluster.cluster.trust.identity import Identity, Role
from pi_cluster.cluster.trust.roles import Rule
from pi_cluster.cluster.wire.failures import refuse
from pi_cluster.cluster.wire.message_size import bytes_beside
from pi_cluster.worker.trust.callers import Caller, Callers
from pi_cluster.worker.trust.places import Places
from pi_cluster.worker.trust.silent_calls import SilentCalls

log = logging.getLogger(__name__)

_Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"

MAX_SILENT_STRANGERS = 32


class Guard(grpc.ServerInterceptor):
    """Lets calls in by the rules of ``cluster/trust/roles.py``."""

    def __init__(
        self,
        rules: Mapping[str, Rule],
        credentials: LiveCredentials | None,
        places: int = settings.MAX_CALLS,
        silent: SilentCalls | None = None,
    ) -> None:
        """``places`` are calls at once that have spoken; ``silent`` holds those that have not."""
        self._rules = rules
        self._callers = Callers(credentials) if credentials else None
        self._places = Places(places)
        self._silent = silent or SilentCalls(MAX_SILENT_STRANGERS, settings.FIRST_MESSAGE_TIMEOUT_S)

    def intercept_service(
        self, continuation: Callable[[Any], Any], details: grpc.HandlerCallDetails
    ) -> _Handler:
        """The method's handler with the guard before it."""
        handler, rule = continuation(details), self._rules.get(details.method)
        if handler is None or rule is None:
            return grpc.stream_stream_rpc_method_handler(
                lambda _, context: self._refuse_unknown(context, details.method)
            )
        return self._guarded(handler, rule, details.method)

    def caller(self, context: grpc.ServicerContext) -> Identity | None:
        """Whose certificate came with a call; None for a connection without."""
        return self._callers.of(context).identity if self._callers else None

    def recheck(self) -> None:
        """End the calls of those whose certificates have been revoked since they began."""
        if self._callers is None:
            return
        for context, caller in self._places.of(self._callers.revoked):
            about = LogFields(caller=str(caller.identity))
            log.warning(
                "ended a call of %s: its certificate has been revoked", caller.identity, extra=about
            )
            context.cancel()

    def _guarded(self, handler: _Handler, rule: Rule, method: str) -> _Handler:
        # Every request is taken as a stream of bytes, also where there is but one message: so it
        # is read only after the caller was let in, and decoded only if it is not too large.
        act = _method_of(handler)
        decode = functools.partial(
            _decoded, decode=handler.request_deserializer or bytes, rule=rule
        )

        def request(messages: Iterator[bytes]) -> Any:
            # `map` lets go of one message before it waits for the next.
            read = map(decode, messages)
            if handler.request_streaming:
                return read
            with contextlib.suppress(StopIteration):
                return next(read)
            raise NodeError("a call came without a message")

        def answer(messages: Iterator[bytes], context: grpc.ServicerContext) -> Any:
            with self._let_in(context, rule, method, messages) as spoken:
                return act(request(spoken), context)

        def answers(messages: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[Any]:
            with self._let_in(context, rule, method, messages) as spoken:
                yield from act(request(spoken), context)

        encode = handler.response_serializer
        if handler.response_streaming:
            return grpc.stream_stream_rpc_method_handler(answers, None, encode)
        return grpc.stream_unary_rpc_method_handler(answer, None, encode)

    @contextlib.contextmanager
    def _let_in(
        self, context: grpc.ServicerContext, rule: Rule, method: str, messages: Iterator[bytes]
    ) -> Iterator[Iterator[bytes]]:
        """The call counts as open within, where its messages are; one that must not be is refused.

        Who has a certificate takes a place of its own few at once. A stranger takes one only with
        its first message in hand: those that are silent must not use up what others need.
        """
        with contextlib.ExitStack() as held:
            try:
                caller = self._allowed(context, rule)
                if caller:
                    held.enter_context(self._place(context, caller))
                with self._silent.waiting(context, is_stranger=caller is None):
                    first = next(messages, None)
                if not caller:
                    held.enter_context(self._place(context, None))
            except ClusterError as error:
                self._refuse(context, method, error)
            beginning = [] if first is None else [first]
            del first
            try:
                yield _spoken(beginning, messages)
            except ClusterError as error:  # of the message itself; methods answer for their own
                self._refuse(context, method, error)
            except NotImplementedError:  # in the protocol, but not in this program
                self._refuse_unknown(context, method)

    @contextlib.contextmanager
    def _place(self, context: grpc.ServicerContext, caller: Caller | None) -> Iterator[None]:
        place = contextlib.ExitStack()
        place.enter_context(self._places.taken(context, caller))
        try:
            yield
        finally:
            place.close()
            self.recheck()

    def _allowed(self, context: grpc.ServicerContext, rule: Rule) -> Caller | None:
        if self._callers is None:
            return None
        caller = self._callers.of(context)
        if caller.identity.role not in rule.roles:
            needed = "an operator" if Role.HEALER not in rule.roles else "an operator or a healer"
            raise AccessError(f"{caller.identity.label} may not do that: it takes {needed}")
        return caller

    def _refuse(self, context: grpc.ServicerContext, method: str, error: ClusterError) -> Never:
        who = self._described(context)
        log.warning("refused %s to %s: %s", method, who, error, extra=LogFields(caller=who))
        denied = isinstance(error, AccessError)
        code = grpc.StatusCode.PERMISSION_DENIED if denied else grpc.StatusCode.FAILED_PRECONDITION
        refuse(context, error, code)

    def _refuse_unknown(self, context: grpc.ServicerContext, method: str) -> Never:
        name = method[:100].encode("ascii", "replace").decode()
        who, why = self._described(context), "there is no such method"
        log.warning("refused %r to %s: %s", name, who, why, extra=LogFields(caller=who))
        error = NodeError(f"this version of pi-cluster has no method {name}")
        refuse(context, error, grpc.StatusCode.UNIMPLEMENTED)

    def _described(self, context: grpc.ServicerContext) -> str:
        who = context.peer()
        with contextlib.suppress(ClusterError):
            if self._callers:
                return f"{self._callers.of(context).identity} at {who}"
        return who


def _method_of(handler: _Handler) -> Callable[..., Any]:
    kinds = (
        handler.unary_unary,
        handler.unary_stream,
        handler.stream_unary,
        handler.stream_stream,
    )
    return next(method for method in kinds if method)


def _spoken(beginning: list[bytes], messages: Iterator[bytes]) -> Iterator[bytes]:
    while beginning:
        yield beginning.pop()  # nothing here keeps it while the next one is waited for
    yield from messages


def _decoded(data: bytes, decode: Callable[[bytes], Any], rule: Rule) -> Any:
    size, most = len(data), rule.max_bytes
    if rule.large_fields and most < size <= most + rule.max_large_bytes:
        size = bytes_beside(data, *rule.large_fields)
    if size > most:
        raise NodeError(f"a message of {len(data)} bytes is too large for this method")
    try:
        return decode(data)
    except DecodeError:
        raise NodeError("a message came that cannot be decoded") from None
