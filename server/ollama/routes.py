"""Ollama's routes that ask."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from pi_cluster.server.asking.ask import Ask
from pi_cluster.server.asking.desk import Desk
from pi_cluster.server.http.answering import StreamedAnswer, WholeAnswer
from pi_cluster.server.http.bodies import json_response, read_json
from pi_cluster.server.http.operation import Operation, operation
from pi_cluster.server.ollama import embeddings, models
from pi_cluster.server.ollama.answers import ChatFrame, GenerateFrame
from pi_cluster.server.ollama.framing import AnswerFrames, AnswerLines, AnswerObject
from pi_cluster.server.ollama.likelihoods import Likelihoods
from pi_cluster.server.ollama.models import require_served
from pi_cluster.server.ollama.requests import AskFields, GenerateRequest, OllamaChatRequest
from pi_cluster.server.ollama.understanding import chat_ask, generate_ask, loading_reason


def routes() -> list[BaseRoute]:
    """All of Ollama's."""
    return [
        Route("/api/chat", _chat, methods=["POST"]),
        Route("/api/generate", _generate, methods=["POST"]),
        *embeddings.routes(),
        *models.routes(),
    ]


@operation(
    Operation(
        *("Answer a chat, as Ollama does", OllamaChatRequest, ChatFrame, ChatFrame),
        stream_type=AnswerLines.media_type,
        statuses=(400, 404),
    )
)
async def _chat(request: Request) -> Response | ASGIApp:
    desk: Desk = request.app.state.desk
    said = await read_json(request, OllamaChatRequest)
    require_served(desk.card, said.model)
    frames = AnswerFrames(ChatFrame, said.model, raw=False)
    if not said.messages:
        return _loaded(frames, said)
    return await _answering(desk, said, chat_ask(said, desk.card), frames)


@operation(
    Operation(
        *("Answer a text, as Ollama does", GenerateRequest, GenerateFrame, GenerateFrame),
        stream_type=AnswerLines.media_type,
        statuses=(400, 404),
    )
)
async def _generate(request: Request) -> Response | ASGIApp:
    desk: Desk = request.app.state.desk
    said = await read_json(request, GenerateRequest)
    require_served(desk.card, said.model)
    frames = AnswerFrames(GenerateFrame, said.model, raw=bool(said.raw))
    asked = generate_ask(said, desk.card)
    return await _answering(desk, said, asked, frames) if said.prompt else _loaded(frames, said)


async def _answering(desk: Desk, said: AskFields, asked: Ask, frames: AnswerFrames) -> ASGIApp:
    reply = await desk.prepare(asked)
    continuation = frames.raw or asked.keywords.get("continues", False)
    likelihoods = Likelihoods(desk.client.model, continuation=continuation)
    if said.stream is False:
        return WholeAnswer(reply, AnswerObject(frames, likelihoods))
    return StreamedAnswer(reply, AnswerLines(frames, likelihoods))


def _loaded(frames: AnswerFrames, said: AskFields) -> Response:
    return json_response(frames.without_answer(loading_reason(said)))
