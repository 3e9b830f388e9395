"""`prompt` and `chat` through a server: ask, cancel, and go on with what has not ended."""

import secrets
from collections.abc import Awaitable, Callable
from typing import TypedDict, cast

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from pi_cluster.cluster.errors import KeptNowhere, ModelReplaced
from pi_cluster.coordinator.asking.encoding import CONTINUES_AS_IT_IS
from pi_cluster.coordinator.asking.question import AskKeywords, Prompt
from pi_cluster.coordinator.text_model import TextModel
from pi_cluster.server.asking.ask import Ask
from pi_cluster.server.asking.desk import Desk
from pi_cluster.server.asking.reply import Reply
from pi_cluster.server.http.answering import StreamedAnswer
from pi_cluster.server.http.bodies import json_response, read_json
from pi_cluster.server.http.local import is_local
from pi_cluster.server.http.operation import Operation, operation
from pi_cluster.server.http.refusal import Refusal
from pi_cluster.server.native.lines import MEDIA_TYPE, AnswerLines


class AskedKeywords(TypedDict, total=False):
    """Those of ``AskKeywords`` that commands have options for."""

    max_tokens: int
    temperature: float
    top_k: int
    top_p: float
    min_p: float
    repeat_penalty: float
    seed: int | None
    chunk_size: int | None
    draft: bool
    raw: bool
    think: bool | None
    stop: list[str]


class AskBody(msgspec.Struct):
    """A question, in the words of the Python API."""

    prompt: str | list[int | dict[str, str]]
    """A text, token ids, or the turns of a chat."""
    keywords: AskedKeywords = msgspec.field(default_factory=AskedKeywords)
    only_check: bool = False
    """Say what is wrong with it, and ask nothing."""


class CancelBody(msgspec.Struct):
    """Which answer is to end."""

    ticket: str


class UnfinishedAnswer(msgspec.Struct):
    """An answer that has not ended."""

    id: str
    created: float
    """When it was asked, in seconds since 1970."""
    tokens: int
    """That it has so far."""
    running: bool
    """Whether it grows now, for who asked; else it can be gone on with."""


class KeptAnswers(msgspec.Struct):
    """Those that are kept, the newest first."""

    answers: list[UnfinishedAnswer]


def routes() -> list[BaseRoute]:
    """``ask``, ``cancel`` and ``answers``."""
    asking = _Asking()
    return [
        Route("/cluster/v1/ask", asking.ask, methods=["POST"]),
        Route("/cluster/v1/cancel", asking.cancel, methods=["POST"]),
        Route("/cluster/v1/answers", asking.answers, methods=["GET"]),
        Route("/cluster/v1/answers/{name}", asking.answer, methods=["GET"]),
    ]


class _Asking:
    """Knows the answers under way by their tickets."""

    def __init__(self) -> None:
        self._replies: dict[str, Reply] = {}

    @operation(Operation("Ask as `pi-cluster prompt` does", AskBody, stream_type=MEDIA_TYPE))
    async def ask(self, request: Request) -> ASGIApp:
        """The answer, its parts and what it waits for, one JSON value a line."""
        desk: Desk = request.app.state.desk
        said = await read_json(request, AskBody)
        asked = Ask(cast(Prompt, said.prompt), cast(AskKeywords, said.keywords))
        reply = await desk.prepare(asked, only_check=said.only_check)
        if said.only_check:
            reply.close()
            return Response(status_code=204)
        return self._streamed(reply, _notes(said, desk.client.model))

    @operation(Operation("The unfinished answers of who asks", None, KeptAnswers))
    async def answers(self, request: Request) -> Response:
        """The newest first, without their texts."""
        desk: Desk = request.app.state.desk
        found = await desk.look(_asker(request))
        return json_response(
            KeptAnswers(
                [
                    UnfinishedAnswer(one.name, one.asking.asked_unix_s, one.tokens, one.is_running)
                    for one in found
                ]
            )
        )

    @operation(
        Operation("Go on with an unfinished answer", stream_type=MEDIA_TYPE, statuses=(404, 409))
    )
    async def answer(self, request: Request) -> ASGIApp:
        """All of it, from its beginning, in lines as of ``ask``."""
        desk: Desk = request.app.state.desk
        try:
            reply = await desk.resume(request.path_params["name"], _asker(request))
        except ModelReplaced as error:
            raise Refusal(409, "model_replaced", str(error)) from error
        except KeptNowhere as error:
            raise Refusal(404, "no_such_answer", str(error)) from error
        return self._streamed(reply, [])

    def _streamed(self, reply: Reply, notes: list[str]) -> ASGIApp:
        ticket = secrets.token_urlsafe()
        lines = AnswerLines(reply, ticket, notes)
        return self._noted(ticket, reply, StreamedAnswer(reply, lines))

    @operation(Operation("End an answer early", CancelBody, statuses=(400, 404)))
    async def cancel(self, request: Request) -> Response:
        """Its stream ends with what has come."""
        said = await read_json(request, CancelBody)
        if (reply := self._replies.get(said.ticket)) is None:
            raise Refusal(404, "no_such_answer", "that answer is not under way (any more)")
        reply.cancel()
        return Response(status_code=204)

    def _noted(
        self, ticket: str, reply: Reply, answering: StreamedAnswer
    ) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            self._replies[ticket] = reply
            try:
                await answering(scope, receive, send)
            finally:
                del self._replies[ticket]

        return answer


def _asker(request: Request) -> str | None:
    """Whose answers may be seen: of this machine's user everybody's, else those of one's key."""
    return None if is_local(request.scope) else str(request.state.asker)


def _notes(said: AskBody, model: TextModel) -> list[str]:
    """What the command would say by itself if it asked the nodes."""
    if isinstance(said.prompt, str):
        continues = model.has_tokenizer and not model.has_chat_template
        return [CONTINUES_AS_IT_IS] if continues and not said.keywords.get("raw") else []
    ids = all(isinstance(one, int) for one in said.prompt)
    return [f"{model.fault}; the answer comes as ids"] if ids and model.fault else []
