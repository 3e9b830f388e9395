"""The page before a server that says what a test wants it to say, over a real socket.

A cluster would not show on demand a place in the queue, a hostile answer or a node that is lost.
"""

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from pi_cluster.server.page import routes as page

_PATIENCE_S = 20


def stage(node: str, first: int, **other: Any) -> dict[str, Any]:
    """A node that is well, as `/cluster/v1/state` tells of it."""
    return {
        "node": node,
        "layers": [first, first + 10],
        "state": "busy",
        "is_well": True,
        "why": "",
        "load": 0.62,
        "rows_ps": 4.0,
        "temperature_c": 61.0,
        "memory_bytes": 4 << 30,
        "free_memory_bytes": 2 << 30,
        "stage_bytes": 1 << 30,
    } | other


@dataclass
class Scripted:
    """What the server says; a test changes it at any time."""

    frames: list[bytes | threading.Event] = field(default_factory=list)
    """Of the answer; at an event it waits for it. Empty: the answer `said("Hello.")`."""
    key: str = ""
    """Wanted, where it is not empty."""
    stages: list[dict[str, Any]] = field(
        default_factory=lambda: [stage("pi1", 0), stage("pi2", 10), stage("pi3", 20)]
    )
    note: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list)
    """Bodies of the requests so far."""
    left: threading.Event = field(default_factory=threading.Event)
    """A client has left before its answer was complete."""


def data(value: Any) -> bytes:
    """One event of a stream."""
    return b"data: " + (value if isinstance(value, bytes) else json.dumps(value).encode()) + b"\n\n"


def piece(text: str, name: str = "content") -> bytes:
    """The answer has grown."""
    return data({"choices": [{"index": 0, "delta": {name: text}}]})


def ending(reason: str = "stop") -> list[bytes]:
    """The answer is complete."""
    timings = {"predicted_n": 7, "predicted_per_second": 4.25, "prompt_n": 12, "cache_n": 5}
    usage = {
        "prompt_tokens": 17,
        "completion_tokens": 7,
        "prompt_tokens_details": {"cached_tokens": 5},
    }
    finish = {"choices": [{"index": 0, "delta": {}, "finish_reason": reason}], "timings": timings}
    return [data(finish), data({"choices": [], "usage": usage}), data(b"[DONE]")]


def said(text: str) -> list[bytes]:
    """A whole answer."""
    return [piece(text), *ending()]


class PageServer:
    """Serves until it is stopped; it may be started again at the same port."""

    def __init__(self, script: Scripted, port: int = 0) -> None:
        self._script = script
        self._generated = 0
        app = Starlette(
            routes=[
                *page.routes(),
                Route("/v1/models", self._models),
                Route("/v1/chat/completions", self._chat, methods=["POST"]),
                Route("/cluster/v1/state", self._state),
            ]
        )
        config = uvicorn.Config(
            app,
            port=port,
            log_config=None,
            log_level="critical",  # it ends in the middle of answers, as a test wants
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=0,
        )
        self._ends = threading.Event()
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run)

    def __enter__(self) -> "PageServer":
        self._thread.start()
        for _ in range(_PATIENCE_S * 100):
            if self._server.started:
                break
            self._thread.join(0.01)
        assert self._server.started
        self.port: int = self._server.servers[0].sockets[0].getsockname()[1]
        return self

    def __exit__(self, *failure: object) -> None:
        self._ends.set()
        self._server.should_exit = True
        self._thread.join(_PATIENCE_S)
        assert not self._thread.is_alive()

    def _refused(self, request: Request) -> Response | None:
        wanted = f"Bearer {self._script.key}"
        if not self._script.key or request.headers.get("authorization") == wanted:
            return None
        return JSONResponse({"error": {"message": "This key is not known here."}}, 401)

    async def _models(self, request: Request) -> Response:
        return self._refused(request) or JSONResponse({"data": [{"id": "storyteller"}]})

    async def _chat(self, request: Request) -> Response:
        if refused := self._refused(request):
            return refused
        self._script.asked.append(await request.json())
        frames = list(self._script.frames or said("Hello."))
        return StreamingResponse(self._frames(frames), media_type="text/event-stream")

    async def _frames(self, frames: list[bytes | threading.Event]) -> AsyncIterator[bytes]:
        is_whole = False
        try:
            for frame in frames:
                if isinstance(frame, bytes):
                    yield frame
                    self._generated += 1
                else:
                    await self._until(frame)
            is_whole = True
        finally:
            if not is_whole:
                self._script.left.set()

    async def _until(self, event: threading.Event) -> None:
        while not event.is_set():
            if self._ends.is_set():
                raise ConnectionError("the server ends")
            await asyncio.sleep(0.01)

    async def _state(self, request: Request) -> Response:
        return self._refused(request) or StreamingResponse(
            self._states(), media_type="text/event-stream"
        )

    async def _states(self) -> AsyncIterator[bytes]:
        unix_s = 1_700_000_000.0
        while not self._ends.is_set():
            unix_s += 0.2
            yield data(self._now(unix_s))
            await asyncio.sleep(0.1)

    def _now(self, unix_s: float) -> dict[str, Any]:
        is_well = all(stage["is_well"] for stage in self._script.stages)
        self._generated += 1
        return {
            "unix_s": unix_s,
            "cluster": "test",
            "condition": "ready" if is_well else "healing",
            "note": self._script.note,
            "model": {"id": "storyteller", "layers": 30, "context": 2048, "thinks": True},
            "stages": self._script.stages,
            "requests": {"running": 1, "waiting": 2},
            "tokens": {"prompt": 0, "cached": 0, "generated": self._generated},
        }
