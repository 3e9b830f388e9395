"""Many streams at a server for minutes: no text differs from its solo run, and no memory grows.

    python -m benchmarks.server.soak [--seconds 300] [--streams 32] [--seed 1]

The embedded model on three local workers. Each user asks one thing after another; some leave early.
What is read until then must be the beginning of what the same question gave alone. Memory is what
the server holds beyond files; after the first tenth of the time it may grow by ``MOST_GROWTH_MIB``.
Ends with 1 if anything is wrong. The last line is JSON.
"""

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.kernels.machine import cpu_name
from benchmarks.server.request import PROMPTS, stream
from benchmarks.server.serving import Served, served
from benchmarks.soak.memory import MOST_GROWTH_MIB, Growth, MemoryWatch, Watched, growths
from benchmarks.soak.questions import Tally

_WORKERS, _TOKENS, _EVERY = 3, 48, 20
_SAMPLINGS: tuple[dict[str, Any], ...] = (
    {"temperature": 0},
    {"temperature": 0.8, "seed": 1},
    {"temperature": 1.0, "seed": 2, "repeat_penalty": 1.2},
)
Question = tuple[str, int]


def main() -> None:
    """Soak, print, and end with 1 if anything was wrong."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.server.soak")
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--streams", type=int, default=32)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    tally = Tally()
    with (
        tempfile.TemporaryDirectory() as name,
        served(Path(name), _WORKERS, options.streams) as server,
    ):
        alone = asyncio.run(_answered_alone(server))
        watched = [Watched("server", server.process_id)]
        with MemoryWatch(watched, tally, _EVERY) as watch:
            asyncio.run(_ask_all(server, alone, options, tally))
    growth = growths(watch.samples, tally.done // 10)["server"]
    _print(tally, growth, options)
    sys.exit(0 if growth.is_flat and tally.done and not tally.wrong else 1)


async def _answered_alone(server: Served) -> dict[Question, str]:
    """Each question with its answer, asked one after another."""
    found = {}
    for prompt in PROMPTS:
        for number, sampling in enumerate(_SAMPLINGS):
            one = await stream(server.port, prompt, _TOKENS, **sampling)
            found[prompt, number] = one.text
    return found


async def _ask_all(
    server: Served, alone: Mapping[Question, str], options: argparse.Namespace, tally: Tally
) -> None:
    until_s = time.monotonic() + options.seconds
    users = (
        _one_user(server, alone, random.Random(f"{options.seed} {user}"), until_s, tally)  # noqa: S311
        for user in range(options.streams)
    )
    await asyncio.gather(*users)


async def _one_user(
    server: Served,
    alone: Mapping[Question, str],
    draw: random.Random,
    until_s: float,
    tally: Tally,
) -> None:
    while time.monotonic() < until_s:
        prompt, number = question = draw.choice(list(alone))
        tokens = draw.randrange(1, _TOKENS + 1)
        asking = stream(server.port, prompt, tokens, **_SAMPLINGS[number])
        patience_s = draw.uniform(0.0, 0.5) if draw.random() < 0.1 else None
        try:
            text = (await asyncio.wait_for(asking, patience_s)).text
        except TimeoutError:
            tally.cancelled += 1
            continue
        tally.done += 1
        tally.tokens += tokens
        if not alone[question].startswith(text) or (tokens == _TOKENS and text != alone[question]):
            tally.wrong.append(f"{question}, {tokens} tokens: {text!r}, alone {alone[question]!r}")


def _print(tally: Tally, growth: Growth, options: argparse.Namespace) -> None:
    for text in tally.wrong[:10]:
        print(f"WRONG {text}")
    print(
        f"{cpu_name()}: {tally.done} answers of {options.streams} streams in "
        f"{options.seconds:.0f} s, {tally.tokens} tokens, {tally.cancelled} left early; "
        f"{len(tally.wrong)} wrong"
    )
    verdict = "flat" if growth.is_flat else f"GROWS by more than {MOST_GROWTH_MIB:.0f} MiB"
    print(f"server: {growth.start:.1f} MiB when warm, {growth.end:.1f} MiB at the end: {verdict}")
    memory = [growth.start, growth.end, growth.slope]
    print(json.dumps({"answers": tally.done, "wrong": len(tally.wrong), "memory_mib": memory}))


if __name__ == "__main__":
    main()
