"""`/v1/embeddings`: texts as vectors, where the server was told how this model makes them."""

import base64
from collections.abc import Callable, Sequence
from typing import Literal

import msgspec
from msgspec import Struct
from starlette.requests import Request
from starlette.types import ASGIApp

from pi_cluster.coordinator.asking.embedding import Vectors, embedded, vector_keywords
from pi_cluster.coordinator.pooling import Pooling
from pi_cluster.server.asking.ask import Ask
from pi_cluster.server.asking.desk import Desk
from pi_cluster.server.asking.gathering import Gathered
from pi_cluster.server.asking.in_turn import InTurn
from pi_cluster.server.http.answering import WholeAnswer
from pi_cluster.server.http.bodies import read_json
from pi_cluster.server.http.embedding import MOST_TEXTS, check_dimensions, not_offered
from pi_cluster.server.http.failures import openai_error
from pi_cluster.server.http.operation import Operation, operation
from pi_cluster.server.http.refusal import Refusal, refuse


class EmbeddingRequest(Struct, kw_only=True):
    """``/v1/embeddings``"""

    input: str | list[str | int | list[int]]
    model: str | None = None
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: int | None = None


class Embedding(Struct):
    """One vector."""

    index: int
    embedding: list[float] | str
    """Its numbers, or these as base64 of float32, little-endian."""
    object: str = "embedding"


class EmbeddingUsage(Struct):
    """Tokens of all texts."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingList(Struct):
    """The vectors of all texts, in their order."""

    data: list[Embedding]
    model: str
    usage: EmbeddingUsage
    object: str = "list"


class Embeddings:
    """The route, of an application whose state has ``embeddings``: how its model makes them."""

    def __init__(self, check_model: Callable[[Desk, EmbeddingRequest], None]) -> None:
        """``check_model`` raises ``Refusal`` for a model that is not to be answered for."""
        self._check_model = check_model

    @operation(
        Operation("Vectors of texts", EmbeddingRequest, EmbeddingList, statuses=(400, 404, 501))
    )
    async def embed(self, request: Request) -> ASGIApp:
        """A vector for each text. Raises ``Refusal`` where ``embeddings`` is None."""
        desk: Desk = request.app.state.desk
        pooling: Pooling | None = request.app.state.embeddings
        if pooling is None:
            raise not_offered()
        said = await read_json(request, EmbeddingRequest)
        self._check_model(desk, said)
        check_dimensions(said.dimensions, desk)
        texts = _texts(said.input, desk.card.config.vocab_size)
        asks = [Ask(text, vector_keywords(pooling)) for text in texts]
        in_turn = InTurn(desk, asks)
        await in_turn.prepare()
        return WholeAnswer(in_turn, _Form(desk.card.id, said))


class _Form:
    """The vectors in one object."""

    def __init__(self, model: str, said: EmbeddingRequest) -> None:
        self._model, self._said = model, said

    def whole(self, answers: Sequence[Gathered]) -> bytes:
        """An ``EmbeddingList``."""
        found = embedded([one.answer for one in answers], self._said.dimensions)
        data = [Embedding(index, self._written(one)) for index, one in enumerate(found.vectors)]
        usage = EmbeddingUsage(found.prompt_tokens, found.prompt_tokens)
        return msgspec.json.encode(EmbeddingList(data, self._model, usage))

    def refused(self, refusal: Refusal) -> bytes:
        """The error that clients raise."""
        return msgspec.json.encode(openai_error(refusal))

    def _written(self, vector: Vectors) -> list[float] | str:
        if self._said.encoding_format == "base64":
            return base64.b64encode(vector.astype("<f4").tobytes()).decode()
        numbers: list[float] = vector.tolist()
        return numbers


def _texts(said: str | list[str | int | list[int]], vocab_size: int) -> list[str | list[int]]:
    if isinstance(said, str):
        return [said]
    ids = [one for one in said if isinstance(one, int)]
    texts = [one for one in said if not isinstance(one, int)]
    if ids and not texts:
        texts = [ids]
    elif ids or not texts:
        refuse("input", "`input` is a text, a list of token ids, or a list of either")
    if any(not 0 <= one < vocab_size for ids in texts if isinstance(ids, list) for one in ids):
        refuse(
            "input",
            f"`input` has token ids beyond this model's {vocab_size}: send texts, as langchain "
            "does with check_embedding_ctx_length=False",
        )
    if len(texts) > MOST_TEXTS:
        refuse("input", f"`input` has {len(texts)} texts; at most {MOST_TEXTS} go at once")
    return texts
