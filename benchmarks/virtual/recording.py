"""Writes down what SmolLM2-135M answers, for virtual models to play back.

    python -m benchmarks.virtual.recording STORE

STORE is what ``pi-cluster shard`` made of its GGUF. Greedy, each question by itself, up to 220
tokens. Ids are numbered anew as they come up, since virtual models have fewer. Writes
``texts/smollm2.json``.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.virtual.playback import FIRST_WORD
from benchmarks.virtual.texts import RECORDED
from pi_cluster.cluster.layer_range import LayerRange
from pi_cluster.cluster.store.store import Store
from pi_cluster.coordinator.text_model import TextModel
from pi_cluster.kernels import Engine
from pi_cluster.transformer.limits import Limits
from pi_cluster.transformer.stage import Chunk, Stage
from pi_cluster.worker.stage.loading import load_stage

_TOKENS = 220
_LIMITS = Limits(max_step_rows=128, max_sequences=1, context=2048, cache_positions=2048)
_QUESTIONS = (
    "Why is the sky blue?",
    "Tell me a short story about a lighthouse keeper and a storm.",
    "How do I make bread at home? Give me the steps.",
    "Write a letter to my landlord about a broken heater.",
    "What is the difference between a virus and a bacterium?",
    "Explain how a bicycle stays upright.",
    "Give me a plan for a weekend in Rome.",
)


def main() -> None:
    """Ask, and write."""
    folder = Path(sys.argv[1])
    store = Store(folder)
    model = TextModel(folder, store.manifest)
    layers = LayerRange(0, store.manifest.n_layers)
    stage = load_stage(store.manifest, layers, _LIMITS, store, Engine(threads=1)).stage
    known: dict[int, int] = {}
    texts = []
    for question in _QUESTIONS:
        prompt = model.chat_ids([{"role": "user", "content": question}])
        answer = list(_answer(stage, prompt, store.manifest.eos_ids))
        numbered = [
            [known.setdefault(token, FIRST_WORD + len(known)) for token in ids]
            for ids in (prompt, answer)
        ]
        texts.append(dict(zip(("prompt", "answer"), numbered, strict=True)))
    lines = ",\n".join(json.dumps(text, separators=(",", ":")) for text in texts)
    RECORDED.write_text(f"[\n{lines}\n]\n")


def _answer(stage: Stage, prompt: list[int], ends: tuple[int, ...]) -> Iterator[int]:
    start, ids = 0, prompt
    for _ in range(_TOKENS):
        hidden = stage.forward([Chunk(1, start, len(ids))], stage.embed(np.array(ids)))
        token = int(stage.logits(hidden[-1:])[0].argmax())
        if token in ends:
            return
        yield token
        start, ids = start + len(ids), [token]


if __name__ == "__main__":
    main()
