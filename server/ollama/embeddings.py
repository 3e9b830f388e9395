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
from pi_cluster.coordinator.pooling import Pooling
from pi_cluster.server.asking.ask import Ask
from pi_cluster.server.asking.desk import Desk
from pi_cluster.server.asking.gathering import Gathered
from pi_cluster.server.asking.in_turn import InTurn
from pi_cluster.server.http.answering import WholeAnswer
from pi_cluster.server.http.bodies import read_json
from pi_cluster.server.http.embedding import check_dimensions, not_offered
from pi_cluster.server.http.failures import ollama_error
from pi_cluster.server.http.operation import Operation, operation
from pi_cluster.server.http.refusal import Refusal
from pi_cluster.server.ollama.models import require_served

MOST_TEXTS = 2048


class EmbedRequest(Struct, kw_only=True):
    """``/api/embed``; a text that does not fit is refused, also with ``truncate``."""

    model: str = ""
    input: str | list[str] | None = None
    dimensions: int | None = None


class OldEmbedRequest(Struct, kw_only=True):
    """``/api/embeddings``"""

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
    answer = await _answering(request, said.model, texts, _Form(said))
    if not texts:
        return JSONResponse({"model": said.model, "embeddings": []})
    return answer


@operation(Operation("The vector of a text, as Ollama had it", OldEmbedRequest, OldEmbedded))
async def _embed_one(request: Request) -> ASGIApp:
    said = await read_json(request, OldEmbedRequest)
    return await _answering(request, said.model, [said.prompt], _OldForm())


async def _answering(
    request: Request, model: str, texts: Sequence[str], form: "_Form | _OldForm"
) -> WholeAnswer:
    desk: Desk = request.app.state.desk
    pooling: Pooling | None = request.app.state.embeddings
    if pooling is None:
        raise not_offered()
    require_served(desk.card, model)
    check_dimensions(form.dimensions, desk)
    in_turn = InTurn(desk, [Ask(text, vector_keywords(pooling)) for text in texts])
    await in_turn.prepare()
    return WholeAnswer(in_turn, form)


class _Form:
    def __init__(self, said: EmbedRequest) -> None:
        self._said = said
        self._began_ns = time.perf_counter_ns()

    @property
    def dimensions(self) -> int | None:
        return self._said.dimensions

    def whole(self, answers: Sequence[Gathered]) -> bytes:
        found = embedded([one.answer for one in answers], self.dimensions)
        passed_ns = time.perf_counter_ns() - self._began_ns
        told = Embedded(self._said.model, found.vectors.tolist(), passed_ns, 0, found.prompt_tokens)
        return msgspec.json.encode(told)

    def refused(self, refusal: Refusal) -> bytes:
        return msgspec.json.encode(ollama_error(refusal))


class _OldForm:
    dimensions = None

    def whole(self, answers: Sequence[Gathered]) -> bytes:
        found = embedded([one.answer for one in answers], None)
        return msgspec.json.encode(OldEmbedded(found.vectors[0].tolist()))

    def refused(self, refusal: Refusal) -> bytes:
        return msgspec.json.encode(ollama_error(refusal))
