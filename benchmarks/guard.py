"""What the guard of `pi-cluster serve` costs: for a request, and for a piece of an answer.

    python benchmarks/guard.py

Prints microseconds of processor time; the last line is JSON.
"""

import argparse
import asyncio
import hashlib
import json
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pi_cluster.server.http.guard import Admission, Guard

_KEY = "pck_" + "k" * 43


class _OneKey:
    are_needed = True

    def asker(self, key: str) -> str | None:
        digest = hashlib.sha256(key.encode()).hexdigest()
        return "phone" if digest == hashlib.sha256(_KEY.encode()).hexdigest() else None


def _answering(pieces: int) -> ASGIApp:
    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(pieces):
            await send({"type": "http.response.body", "body": b"data", "more_body": True})

    return app


async def _receive() -> Message:
    return {"type": "http.request", "body": b"{}", "more_body": False}


async def _send(_message: Message) -> None:
    return


def _scope() -> Scope:
    headers = [
        *((b"host", b"pi.local:8080"), (b"authorization", f"Bearer {_KEY}".encode())),
        *((b"content-length", b"2"), (b"user-agent", b"x"), (b"content-type", b"text/json")),
    ]
    return {
        **{"type": "http", "method": "POST", "path": "/v1/chat/completions", "headers": headers},
        **{"server": ("192.168.1.7", 8080), "client": ("192.168.1.9", 4_000), "state": {}},
    }


async def _microseconds(app: ASGIApp, times: int) -> float:
    began_s = time.process_time()
    for _ in range(times):
        await app(_scope(), _receive, _send)
    return (time.process_time() - began_s) / times * 1e6


async def _measure(times: int) -> dict[str, float]:
    pieces = 1_000
    short, long = _answering(1), _answering(pieces)
    guarded, guarded_long = (Guard(app, Admission(keys=_OneKey())) for app in (short, long))
    requests, sends, few = [], [], times // 50
    for _ in range(5):
        requests.append(await _microseconds(guarded, times) - await _microseconds(short, times))
        more = await _microseconds(guarded_long, few) - await _microseconds(long, few)
        sends.append(more / pieces)
    return {"us_per_request": round(min(requests), 2), "us_per_piece": round(min(sends), 3)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--times", type=int, default=5_000)
    print(json.dumps(asyncio.run(_measure(parser.parse_args().times))))


if __name__ == "__main__":
    main()
