"""What is asked of the server and of the library, and a reader that costs next to nothing."""

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass

PROMPTS = (
    "Tell me a story about a brave fox.",
    "Who are you?",
    "Tell me a story about a lost kite and a dog.",
    "What do you like best about the sea?",
)
_END = b"data: [DONE]"


@dataclass(frozen=True, slots=True)
class Streamed:
    """One answer as it arrived."""

    body: bytes
    first_byte_s: float
    """From the request to the first byte of the body."""

    @property
    def text(self) -> str:
        """What was said. Raises ``ValueError`` for a stream that broke."""
        return "".join(
            choice["delta"].get("content", "")
            for event in self._events()
            for choice in event["choices"]
        )

    def _events(self) -> list[dict[str, list[dict[str, dict[str, str]]]]]:
        lines = self.body.split(b"\n")
        if not any(line.startswith(_END) for line in lines):
            raise ValueError(f"a stream broke off: {self.body[-300:]!r}")
        said = [line[6:] for line in lines if line.startswith(b"data: {")]
        events = [json.loads(line) for line in said]
        if broken := [event for event in events if "error" in event]:
            raise ValueError(str(broken[0]))
        return events


async def stream(
    port: int,
    prompt: str,
    tokens: int,
    on_text: Callable[[], object] = lambda: None,
    **more: object,
) -> Streamed:
    """Ask for a streamed chat of so many tokens, and read it to its end.

    ``on_text`` is called when something comes behind the role.
    """
    said = {
        "messages": [{"role": "user", "content": prompt}],
        **{"stream": True, "max_tokens": tokens, "temperature": 0, "ignore_eos": True, **more},
    }
    body = json.dumps(said).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}"
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        began_s = time.perf_counter()
        writer.write(head.encode() + b"\r\nConnection: close\r\n\r\n" + body)
        response = await reader.readuntil(b"\r\n\r\n")
        if not response.startswith(b"HTTP/1.1 200"):
            raise ValueError(f"{response!r} {await reader.read()!r}")
        size = await reader.readline()
        first_byte_s = time.perf_counter() - began_s
        parts = []
        while count := int(size, 16):
            parts.append(await reader.readexactly(count))
            if len(parts) == 2:
                on_text()
            await reader.readexactly(2)
            size = await reader.readline()
        return Streamed(b"".join(parts), first_byte_s)
    finally:
        writer.close()


async def stream_all(port: int, streams: int, tokens: int) -> list[Streamed]:
    """As many chats at once as the library is asked."""
    return await asyncio.gather(
        *(stream(port, PROMPTS[number % len(PROMPTS)], tokens) for number in range(streams))
    )
