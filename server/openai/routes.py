"""OpenAI's routes, each with and without ``/v1`` in front: clients of llama.cpp leave it out."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from pi_cluster.server.asking.desk import Desk
from pi_cluster.server.http.answering import StreamedAnswer, WholeAnswer
from pi_cluster.server.http.bodies import json_response, read_json
from pi_cluster.server.http.failures import retrying
from pi_cluster.server.http.operation import Operation, operation
from pi_cluster.server.http.refusal import Refusal
from pi_cluster.server.openai import tokens
from pi_cluster.server.openai.answers import (
    ChatChunk,
    ChatCompletion,
    Completion,
    Model,
    ModelList,
    ModelMeta,
)
from pi_cluster.server.openai.chat_framing import ChatForm, ChatFraming
from pi_cluster.server.openai.embeddings import EmbeddingRequest, Embeddings
from pi_cluster.server.openai.requests import ChatRequest, CompletionRequest, GenerationFields
from pi_cluster.server.openai.text_framing import TextForm, TextFraming
from pi_cluster.server.openai.understanding import chat_ask, completion_asks


def routes(*, strict_model: bool = False) -> list[BaseRoute]:
    """All of them. With ``strict_model``, a request for another model's name is refused."""
    api = _Api(strict_model=strict_model)
    found: list[BaseRoute] = []
    for prefix in ("/v1", ""):
        found += [
            Route(f"{prefix}/models", _models, methods=["GET"]),
            Route(f"{prefix}/models/{{model:path}}", _model, methods=["GET"]),
            Route(f"{prefix}/chat/completions", api.chat, methods=["POST"]),
            Route(f"{prefix}/completions", api.complete, methods=["POST"]),
            Route(f"{prefix}/responses", _respond, methods=["POST"]),
            Route(f"{prefix}/embeddings", Embeddings(api.check_model).embed, methods=["POST"]),
        ]
    return [*found, *tokens.routes()]


class _Api:
    """The routes that ask."""

    def __init__(self, *, strict_model: bool) -> None:
        self._strict_model = strict_model

    @operation(
        Operation("Answer a chat", ChatRequest, ChatCompletion, ChatChunk, statuses=(400, 404))
    )
    async def chat(self, request: Request) -> ASGIApp:
        """The model's next turn of a conversation."""
        desk: Desk = request.app.state.desk
        said = await read_json(request, ChatRequest)
        self.check_model(desk, said)
        card, model = desk.card, desk.client.model
        ask = chat_ask(said, can_think=card.can_switch_thinking)
        reply, continuation = await desk.prepare(ask), ask.keywords.get("continues", False)
        if not said.stream:
            return WholeAnswer(reply, ChatForm(card, model, continuation=continuation))
        usage = _wants_usage(said)
        framing = ChatFraming(
            card, model, reply.choices, with_usage=usage, continuation=continuation
        )
        return StreamedAnswer(reply, framing)

    @operation(
        Operation("Continue texts", CompletionRequest, Completion, Completion, statuses=(400, 404))
    )
    async def complete(self, request: Request) -> ASGIApp:
        """Continuations of texts or of token ids."""
        desk: Desk = request.app.state.desk
        said = await read_json(request, CompletionRequest)
        self.check_model(desk, said)
        card, model, n = desk.card, desk.client.model, said.n or 1
        reply = await desk.prepare(*completion_asks(said))
        if not said.stream:
            return WholeAnswer(reply, TextForm(card, model, n))
        return StreamedAnswer(
            reply, TextFraming(card, model, reply.choices, n, with_usage=_wants_usage(said))
        )

    def check_model(self, desk: Desk, said: GenerationFields | EmbeddingRequest) -> None:
        """Raises ``Refusal`` for another model's name, if that matters."""
        if self._strict_model and said.model is not None and not desk.card.is_called(said.model):
            raise _no_such(said.model, desk)


@operation(Operation("The model that is served, as a list", None, ModelList, statuses=()))
async def _models(request: Request) -> Response:
    return json_response(ModelList([_described(request.app.state.desk)]))


@operation(Operation("The model that is served", None, Model, statuses=(404,)))
async def _model(request: Request) -> Response:
    desk: Desk = request.app.state.desk
    name = request.path_params["model"]
    if not desk.card.is_called(name):
        raise _no_such(name, desk)
    return json_response(_described(desk))


@operation(Operation("Not offered: chats go to /v1/chat/completions", statuses=(501,)))
async def _respond(_request: Request) -> Response:
    raise Refusal(
        *(501, "not_offered"),
        "the responses API is not offered: send chats to /v1/chat/completions",
        retrying(None),
    )


def _described(desk: Desk) -> Model:
    card = desk.card
    config = card.config
    meta = ModelMeta(config.vocab_size, config.max_positions, card.size_bytes)
    return Model(card.id, card.created_unix_s, card.context, meta)


def _no_such(name: str, desk: Desk) -> Refusal:
    return Refusal(
        *(404, "model_not_found"),
        f"the model {name!r} is not served here: {desk.card.id!r} is",
        field_name="model",
    )


def _wants_usage(said: GenerationFields) -> bool:
    return bool(said.stream_options and said.stream_options.include_usage)
