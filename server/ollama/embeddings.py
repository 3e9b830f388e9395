"""`/api/embed`, and `/api/embeddings` as older clients ask: texts as vectors."""

import time
from collections.abc import Sequence

import msgspec
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from pi_cluster.coordinator.asking.embedding import embedded, vector_keywords
from pi_cluster.coordinator.asking.question import AskKeywords
from pi_cluster.coordinator.pooling import Pooling
from pi_cluster.server.asking.ask import Ask
from pi_cluster.server.asking.gathering import Gathered
from pi_cluster.server.asking.in_turn import InTurn
from pi_cluster.server.asking.model_card import ModelCard
from pi_cluster.server.http.answering import WholeAnswer
from pi_cluster.server.http.bodies import read_json
from pi_cluster.server.http.embedding import MOST_TEXTS, not_offered
from pi_cluster.server.http.failures import ollama_error
from pi_cluster.server.http.operation import Operation, operation
from pi_cluster.server.http.refusal import Refusal
from pi_cluster.server.ollama.models import require_served


class EmbedRequest(Struct, kw_only=True):
    """``/api/embed``; ``truncate``: the end of a text that does not fit is left off."""

    model: str = ""
    input: str | list[str] | None = None
    truncate: bool | None = None
    dimensions: int | None = None


class OldEmbedRequest(Struct, kw_only=True):
    """``/api/embeddings``, which refuses a text that does not fit."""

    model: str = ""
    prompt: str = ""


class Embedded(Struct):
    """The vectors of all texts, in their order; durations in nanoseconds."""

    model: str
    embeddings: list[list[float]]
    total_duration: int
    load_duration: int
    prompt_eval_count: int


class OldEmbedded(Struct):
    """The vector of a text."""

    embedding: list[float]


def routes() -> list[BaseRoute]:
    """For an application whose state has ``embeddings``: how its model makes them, or None."""
    return [
        Route("/api/embed", _embed, methods=["POST"]),
        Route("/api/embeddings", _embed_one, methods=["POST"]),
    ]


@operation(
    Operation("Vectors of texts, as Ollama has them", EmbedRequest, Embedded, statuses=(400, 404))
)
async def _embed(request: Request) -> Response | ASGIApp:
    said = await read_json(request, EmbedRequest)
    texts = [said.input] if isinstance(said.input, str) else said.input or []
    if len(texts) > MOST_TEXTS:
        raise Refusal(
            *(400, "invalid_value"),
            f"input has {len(texts)} texts; at most {MOST_TEXTS} go at once",
            field_name="input",
        )
    pooling = _pooling(request, said.model)
    if not texts or said.input == "":
        return JSONResponse({"model": said.model, "embeddings": []})
    keywords = vector_keywords(pooling, truncate=said.truncate is not False)
    return await _answering(request, texts, keywords, _Form(said, request.app.state.desk.card))


@operation(Operation("The vector of a text, as Ollama had it", OldEmbedRequest, OldEmbedded))
async def _embed_one(request: Request) -> Response | ASGIApp:
    said = await read_json(request, OldEmbedRequest)
    pooling = _pooling(request, said.model)
    if not said.prompt:
        return JSONResponse({"embedding": []})
    return await _answering(request, [said.prompt], vector_keywords(pooling), _OldForm())


def _pooling(request: Request, model: str) -> Pooling:
    """How the served model makes vectors. Raises ``Refusal`` for none, and for another model."""
    pooling: Pooling | None = request.app.state.embeddings
    if pooling is None:
        raise not_offered()
    require_served(request.app.state.desk.card, model)
    return pooling


async def _answering(
    request: Request, texts: Sequence[str], keywords: AskKeywords, form: "_Form | _OldForm"
) -> WholeAnswer:
    in_turn = InTurn(request.app.state.desk, [Ask(text, keywords) for text in texts])
    await in_turn.prepare()
    return WholeAnswer(in_turn, form)


class _Form:
    def __init__(self, said: EmbedRequest, card: ModelCard) -> None:
        self._model = said.model
        # As Ollama has it, others than fewer ones are passed over.
        is_fewer = said.dimensions is not None and 0 < said.dimensions < card.config.dim
        self._dimensions = said.dimensions if is_fewer else None
        self._began_ns = time.perf_counter_ns()

    def whole(self, answers: Sequence[Gathered]) -> bytes:
        found = embedded([one.answer for one in answers], self._dimensions)
        passed_ns = time.perf_counter_ns() - self._began_ns
        told = Embedded(self._model, found.vectors.tolist(), passed_ns, 0, found.prompt_tokens)
        return msgspec.json.encode(told)

    def refused(self, refusal: Refusal) -> bytes:
        return msgspec.json.encode(ollama_error(refusal))


class _OldForm:
    def whole(self, answers: Sequence[Gathered]) -> bytes:
        found = embedded([one.answer for one in answers], None)
        return msgspec.json.encode(OldEmbedded(found.vectors[0].tolist()))

    def refused(self, refusal: Refusal) -> bytes:
        return msgspec.json.encode(ollama_error(refusal))
