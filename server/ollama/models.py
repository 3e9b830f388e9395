"""The models that Ollama's clients list, look at and pull: the one that is served."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from pi_cluster.server.asking.model_card import ModelCard
from pi_cluster.server.http.bodies import read_json
from pi_cluster.server.http.refusal import Refusal

API_VERSION = "0.12.11"  # of Ollama, the first with logprobs: clients ask for a least one
_QUANTIZATIONS = {"f32": "F32", "f16": "F16", "q8": "Q8_0"} | {
    **{"q4": "Q4_0", "q4_1": "Q4_1", "q4k": "Q4_K", "q4n": "IQ4_NL"},
}
_NEVER = (
    *(("create", ["POST"]), ("blobs/{digest}", ["HEAD", "POST"]), ("push", ["POST"])),
    *(("copy", ["POST"]), ("delete", ["DELETE"])),
)
_FOREVER = "2318-01-01T00:00:00Z"  # as Ollama says it of a model that stays


class Named(msgspec.Struct):
    """A request that names a model; ``name`` is how older clients spell it."""

    model: str = ""
    name: str = ""
    stream: bool | None = None


def require_served(card: ModelCard, name: str) -> None:
    """Raise ``Refusal``, in Ollama's words, unless ``name`` is the served model's."""
    if not name:
        raise Refusal(400, "model_required", "model is required")
    if not card.is_called(name):
        raise Refusal(404, "model_not_found", f"model '{name}' not found")


def tagged(card: ModelCard) -> str:
    """The model's name as Ollama lists it, which always has a tag."""
    return card.id if ":" in card.id else f"{card.id}:latest"


def routes() -> list[BaseRoute]:
    """Those of this file."""
    return [
        Route("/api/version", _version, methods=["GET"]),
        Route("/api/tags", _tags, methods=["GET"]),
        Route("/api/ps", _ps, methods=["GET"]),
        Route("/api/show", _show, methods=["POST"]),
        Route("/api/pull", _pull, methods=["POST"]),
        *(Route(f"/api/{what}", _refusing(what), methods=how) for what, how in _NEVER),
    ]


async def _version(_request: Request) -> Response:
    return JSONResponse({"version": API_VERSION})


async def _tags(request: Request) -> Response:
    card: ModelCard = request.app.state.desk.card
    return JSONResponse({"models": [_listed(card) | {"modified_at": _created(card)}]})


async def _ps(request: Request) -> Response:
    card: ModelCard = request.app.state.desk.card
    loaded = {"expires_at": _FOREVER, "size_vram": 0, "context_length": card.context}
    return JSONResponse({"models": [_listed(card) | loaded]})


async def _show(request: Request) -> Response:
    asked = await read_json(request, Named)
    card: ModelCard = request.app.state.desk.card
    require_served(card, asked.model or asked.name)
    about = {
        "modelfile": "",
        "parameters": "",
        "template": "",
        "details": _details(card),
        "model_info": _model_info(card),
        "capabilities": _capabilities(card),
        "modified_at": _created(card),
    }
    return JSONResponse(about)


async def _pull(request: Request) -> Response:
    asked = await read_json(request, Named)
    require_served(request.app.state.desk.card, asked.model or asked.name)
    if asked.stream is False:
        return JSONResponse({"status": "success"})
    lines = b'{"status":"pulling manifest"}\n{"status":"success"}\n'
    return Response(lines, media_type="application/x-ndjson")


def _capabilities(card: ModelCard) -> list[str]:
    able = {"completion": True, "tools": card.has_chat, "thinking": card.can_think}
    return [name for name, is_able in able.items() if is_able]


def _refusing(what: str) -> Callable[[Request], Awaitable[Response]]:
    async def refuse(_request: Request) -> Response:
        name = what.partition("/")[0]
        raise Refusal(
            501,
            "not_offered",
            f"{name} is not offered here: models are changed with `pi-cluster pull` and "
            "`pi-cluster up`",
            {"x-should-retry": "false"},
        )

    return refuse


def _listed(card: ModelCard) -> dict[str, object]:
    named = {"name": tagged(card), "model": tagged(card)}
    return named | {"size": card.size_bytes, "digest": card.digest, "details": _details(card)}


def _details(card: ModelCard) -> dict[str, object]:
    family = _architecture(card)
    return {
        "parent_model": "",
        "format": "pi-cluster",
        "family": family,
        "families": [family],
        "parameter_size": _shortened(card.config.n_weights),
        "quantization_level": _QUANTIZATIONS[card.formats[0]],
    }


def _model_info(card: ModelCard) -> dict[str, object]:
    name, config = _architecture(card), card.config
    first = config.layers[0]
    return {
        "general.architecture": name,
        "general.parameter_count": config.n_weights,
        f"{name}.context_length": card.context,
        f"{name}.embedding_length": config.dim,
        f"{name}.block_count": config.n_layers,
        f"{name}.attention.head_count": first.n_heads,
        f"{name}.attention.head_count_kv": first.n_kv_heads,
        f"{name}.vocab_size": config.vocab_size,
    }


def _architecture(card: ModelCard) -> str:
    """As GGUF names what is computed: a store knows layers, and no family."""
    first = card.config.layers[0]
    if first.qk_norm:
        return "qwen3"
    return "qwen2" if first.qkv_bias else "llama"


def _shortened(weights: int) -> str:
    return f"{weights / 1e9:.1f}B" if weights >= 1e9 else f"{weights / 1e6:.2f}M"


def _created(card: ModelCard) -> str:
    return datetime.fromtimestamp(card.created_unix_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
