"""Stands before every method: who calls, may they, is there room, is the message small enough.

Of a message nothing is read before its caller's certificate was found good. Refusals are logged
with caller, method and reason. Without credentials (on loopback, with ``--insecure``, while a node
joins) anybody may call: a caller is then a connection, and has no place until it has spoken.
"""

import contextlib
import functools
import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Never, TypeAlias

import grpc
from cryptography import x509
from google.protobuf.message import DecodeError

from pi_cluster.cluster import settings
from pi_cluster.cluster.errors import AccessError, ClusterError, NodeError, PipelineBusy
from pi_cluster.cluster.trust.certificates import check_dates, utc_now
from pi_cluster.cluster.trust.credentials import Credentials, LiveCredentials
from pi_cluster.cluster.trust.identity import Identity, Role
from pi_cluster.cluster.trust.roles import Rule
from pi_cluster.cluster.wire.failures import refuse
from pi_cluster.cluster.wire.message_size import bytes_beside
from pi_cluster.worker.trust.silent_calls import SilentCalls

log = logging.getLogger(__name__)

_Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"

MAX_CALLS_OF = {Role.NODE: 8, Role.COORDINATOR: 16, Role.OPERATOR: 32}
"""At once, for one caller. A node sends steps of one session and fetches a few shards."""
_KEPT_FOR_OPERATORS = 16
"""Of all calls: those of others leave so many free, however many they are."""
MAX_SILENT_STRANGERS = 32
_MAX_KNOWN = 256


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is at the other end of a call, as its certificate says."""

    identity: Identity
    serial: int


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
        self._live = credentials
        self._places = places
        self._silent = silent or SilentCalls(MAX_SILENT_STRANGERS, settings.FIRST_MESSAGE_TIMEOUT_S)
        self._lock = threading.Lock()
        self._known_with: Credentials | None = None
        self._known: dict[bytes, tuple[Caller, x509.Certificate]] = {}
        self._open: dict[grpc.ServicerContext, Caller | None] = {}
        self._calls_of: Counter[Identity | str] = Counter()

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
        if self._live is None:
            return None
        return self._authenticated(context).identity

    def recheck(self) -> None:
        """End the calls of those whose certificates have been revoked since they began."""
        if self._live is None:
            return
        revoked = self._live.current.revoked.serials
        with self._lock:
            ended = [
                (context, caller)
                for context, caller in self._open.items()
                if caller and caller.serial in revoked
            ]
        for context, caller in ended:
            log.warning("ended a call of %s: its certificate has been revoked", caller.identity)
            context.cancel()

    def _guarded(self, handler: _Handler, rule: Rule, method: str) -> _Handler:
        # Every request is taken as a stream of bytes, also where there is but one message: so it
        # is read only after the caller was let in, and decoded only if it is not too large.
        act = next(
            filter(
                None,
                (
                    handler.unary_unary,
                    handler.unary_stream,
                    handler.stream_unary,
                    handler.stream_stream,
                ),
            )
        )
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
        """One of the caller's places. Raises ``PipelineBusy`` when it has none left."""
        who = caller.identity if caller else context.peer()
        self._begin(context, caller, who)
        try:
            yield
        finally:
            with self._lock:
                self._open.pop(context, None)
                self._calls_of[who] -= 1
                self._calls_of += Counter()  # drops those at zero
            self.recheck()

    def _allowed(self, context: grpc.ServicerContext, rule: Rule) -> Caller | None:
        if self._live is None:
            return None
        caller = self._authenticated(context)
        if caller.identity.role not in rule.roles:
            raise AccessError(f"{caller.identity.label} may not do that: it takes an operator")
        return caller

    def _authenticated(self, context: grpc.ServicerContext) -> Caller:
        """Who calls. TLS has checked chain and key at the handshake; here is the rest."""
        pem = bytes(next(iter(context.auth_context().get("x509_pem_cert", ())), b""))
        assert self._live is not None
        now = self._live.current
        with self._lock:
            if now is not self._known_with:
                self._known_with = now
                self._known.clear()
            known = self._known.get(pem)
        if known is None:
            try:
                certificate = x509.load_pem_x509_certificate(pem)
            except ValueError:
                raise AccessError("a call came without a certificate") from None
            try:
                known = Caller(now.check(certificate), certificate.serial_number), certificate
            except AccessError as error:
                raise AccessError(f"your certificate {error}") from None
            with self._lock:
                if len(self._known) < _MAX_KNOWN and self._known_with is now:
                    self._known[pem] = known
        caller, certificate = known
        try:
            check_dates(certificate, utc_now())
        except AccessError as error:
            raise AccessError(f"your certificate {error}") from None
        return caller

    def _begin(
        self, context: grpc.ServicerContext, caller: Caller | None, who: Identity | str
    ) -> None:
        role = caller.identity.role if caller else Role.OPERATOR
        with self._lock:
            if self._calls_of[who] >= MAX_CALLS_OF[role]:
                raise PipelineBusy(f"{MAX_CALLS_OF[role]} calls of yours are open: end some first")
            kept = 0 if role is Role.OPERATOR else _KEPT_FOR_OPERATORS
            if len(self._open) >= self._places - kept:
                raise PipelineBusy(
                    f"{len(self._open)} calls are open on this node: try again later"
                )
            self._open[context] = caller
            self._calls_of[who] += 1

    def _refuse(self, context: grpc.ServicerContext, method: str, error: ClusterError) -> Never:
        log.warning("refused %s to %s: %s", method, self._described(context), error)
        denied = isinstance(error, AccessError)
        code = grpc.StatusCode.PERMISSION_DENIED if denied else grpc.StatusCode.FAILED_PRECONDITION
        refuse(context, error, code)

    def _refuse_unknown(self, context: grpc.ServicerContext, method: str) -> Never:
        name = method[:100].encode("ascii", "replace").decode()
        log.warning("refused %r to %s: there is no such method", name, self._described(context))
        error = NodeError(f"this version of pi-cluster has no method {name}")
        refuse(context, error, grpc.StatusCode.UNIMPLEMENTED)

    def _described(self, context: grpc.ServicerContext) -> str:
        who = context.peer()
        with contextlib.suppress(ClusterError):
            if self._live is not None:
                return f"{self._authenticated(context).identity} at {who}"
        return who


def _spoken(beginning: list[bytes], messages: Iterator[bytes]) -> Iterator[bytes]:
    while beginning:
        yield beginning.pop()  # nothing here keeps it while the next one is waited for
    yield from messages


def _decoded(data: bytes, decode: Callable[[bytes], Any], rule: Rule) -> Any:
    size, most = len(data), rule.max_bytes
    if rule.large_field and most < size <= most + rule.max_large_bytes:
        size = bytes_beside(data, rule.large_field)
    if size > most:
        raise NodeError(f"a message of {len(data)} bytes is too large for this method")
    try:
        return decode(data)
    except DecodeError:
        raise NodeError("a message came that cannot be decoded") from None
