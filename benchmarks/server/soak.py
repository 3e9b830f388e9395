"""Many streams for minutes through a server's desk: no text is another's, and no memory grows.

    python -m benchmarks.server.soak [--seconds N] [--streams N] [--workers N]

The embedded model on local workers, as ``pi-cluster up --local`` starts them. Each stream asks one
thing after another for one of three askers; every eighth leaves after its first piece. Every whole
answer must be what the same question gave alone, and every other the beginning of it. Memory is
what this process, which serves, holds beyond mapped files: after the first tenth of the time it may
grow by ``MOST_GROWTH_MIB``.

Ends with 1 if anything is wrong. The last line is JSON.
"""

import argparse
import asyncio
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.kernels.machine import cpu_name
from benchmarks.process_memory import memory_of
from benchmarks.soak.memory import MOST_GROWTH_MIB
from benchmarks.workers import PLAIN
from pi_cluster.coordinator.asking.question import AskKeywords
from pi_cluster.coordinator.records.pipeline_record import PipelineRecord, load_record
from pi_cluster.server.asking.ask import Ask
from pi_cluster.server.asking.desk import Desk
from pi_cluster.server.asking.reply import Grown
from pi_cluster.server.asking.serving_client import serving_client

_CLUSTER = "soak-server"
_QUESTIONS = 48
_ANIMALS = ("fox", "owl", "mouse", "bear")


@dataclass
class _Tally:
    done: int = 0
    left: int = 0
    tokens: int = 0
    wrong: list[str] = field(default_factory=list)
    memory_mib: list[tuple[float, float]] = field(default_factory=list)
    """Seconds since the beginning, and what was held then."""


def main() -> None:
    """Soak, print, and end with 1 if anything was wrong."""
    options = _options()
    with (
        tempfile.TemporaryDirectory() as folder,
        _pipeline(Path(folder), options) as record,
        serving_client(record, PLAIN, _ignore, options.streams) as client,
    ):
        desk = Desk(client)
        tally = asyncio.run(_soak(desk, options))
        desk.close()
    warm = [mib for at_s, mib in tally.memory_mib if at_s >= options.seconds / 10]
    growth_mib = warm[-1] - warm[0]
    for text in tally.wrong[:10]:
        print(f"WRONG {text}")
    print(
        f"{cpu_name()}: {options.streams} streams for {options.seconds} s, {tally.done} answers, "
        f"{tally.tokens} tokens, {tally.left} left early; {len(tally.wrong)} wrong; "
        f"{warm[0]:.1f} MiB when warm, {growth_mib:+.1f} MiB at the end"
    )
    values = {"answers": tally.done, "left": tally.left, "wrong": len(tally.wrong)}
    print(json.dumps({**values, "warm_mib": warm[0], "growth_mib": growth_mib}))
    sys.exit(bool(tally.wrong) or growth_mib > MOST_GROWTH_MIB)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.server.soak")
    parser.add_argument("--seconds", type=int, default=300)
    parser.add_argument("--streams", type=int, default=32)
    parser.add_argument("--workers", type=int, default=3)
    return parser.parse_args()


@contextmanager
def _pipeline(folder: Path, options: argparse.Namespace) -> Iterator[PipelineRecord]:
    os.environ["XDG_STATE_HOME"] = str(folder / "state")
    os.environ["XDG_DATA_HOME"] = str(folder / "data")
    try:
        _command("up", "--local", str(options.workers), "--texts", str(options.streams // 2))
        yield load_record(_CLUSTER)
    finally:
        _command("down")


def _command(name: str, *words: str) -> None:
    program = str(Path(sys.executable).with_name("pi-cluster"))
    subprocess.run([program, name, "--cluster", _CLUSTER, *words], check=True, stdout=sys.stderr)


def _ignore(_notice: str) -> None:
    pass


async def _soak(desk: Desk, options: argparse.Namespace) -> _Tally:
    tally = _Tally()
    alone = [await _text(desk, number) for number in range(_QUESTIONS)]
    began_s = time.monotonic()

    async def stream(number: int) -> None:
        draw = np.random.default_rng(number)
        while time.monotonic() < began_s + options.seconds:
            question, leaves = int(draw.integers(_QUESTIONS)), draw.random() < 1 / 8
            text = await _text(desk, question, leaves=leaves, tally=tally)
            expected = alone[question]
            if text != expected and not (leaves and expected.startswith(text)):
                tally.wrong.append(f"{question}: {text!r} is not {expected!r}")

    async def watch() -> None:
        while True:
            gc.collect()
            held_mib = memory_of(os.getpid(), 0).others_bytes / (1 << 20)
            tally.memory_mib.append((time.monotonic() - began_s, held_mib))
            await asyncio.sleep(options.seconds / 100)

    watching = asyncio.create_task(watch())
    await asyncio.gather(*(stream(number) for number in range(options.streams)))
    watching.cancel()
    return tally


async def _text(
    desk: Desk, question: int, *, leaves: bool = False, tally: _Tally | None = None
) -> str:
    keywords = AskKeywords(seed=question, max_tokens=48, asker=f"key {question % 3}")
    animal = _ANIMALS[question % len(_ANIMALS)]
    reply = await desk.prepare(Ask(f"Tell me a story about a brave {animal}.", keywords))
    text = ""
    async with aclosing(aiter(reply)) as events:
        async for event in events:
            if isinstance(event, Grown):
                text += event.piece.text
                if leaves:
                    break
            elif tally:
                tally.done += 1
                tally.tokens += len(event.answer.ids)
    if tally and leaves:
        tally.left += 1
    return text


if __name__ == "__main__":
    main()
