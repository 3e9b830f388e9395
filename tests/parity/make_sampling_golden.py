"""Writes golden_sampling.json with the logits processors of transformers and torch.

    python tests/parity/make_sampling_golden.py

Needs torch and transformers, which the tests do not. The JSON holds settings, logits, the ids
already in the text, and what transformers makes of them: the ids that can be drawn, by falling
probability, and their probabilities in float32.
"""

import json
import random
from pathlib import Path

import torch
import transformers
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

VOCAB_SIZE = 48
CASES = 100


def random_settings(rng: random.Random) -> dict[str, float | int]:
    """Each setting is off in about every third case."""
    return {
        "temperature": rng.choice([1.0, 0.25, 0.7, 1.9]),
        "top_k": rng.choice([0, 0, 1, 5, 20, VOCAB_SIZE + 3]),
        "top_p": rng.choice([1.0, 1.0, 0.05, 0.5, 0.9, 0.99]),
        "min_p": rng.choice([0.0, 0.0, 0.02, 0.3, 1.0]),
        "repeat_penalty": rng.choice([1.0, 1.0, 1.1, 1.8, 0.7]),
    }


def processors(settings: dict[str, float | int]) -> LogitsProcessorList:
    """The list that ``generate`` would build, in its order; a setting that is off is left out."""
    chain = LogitsProcessorList()
    if settings["repeat_penalty"] != 1:
        chain.append(RepetitionPenaltyLogitsProcessor(penalty=settings["repeat_penalty"]))
    if settings["temperature"] != 1:
        chain.append(TemperatureLogitsWarper(settings["temperature"]))
    if settings["top_k"]:
        chain.append(TopKLogitsWarper(settings["top_k"]))
    if settings["top_p"] < 1:
        chain.append(TopPLogitsWarper(settings["top_p"]))
    if settings["min_p"]:
        chain.append(MinPLogitsWarper(settings["min_p"]))
    return chain


def make_case(rng: random.Random) -> dict[str, object]:
    # Distinct multiples of 1/64: short in JSON, exact in float32, and no ties.
    logits = [value / 64 for value in rng.sample(range(-500, 500), VOCAB_SIZE)]
    seen_ids = [rng.randrange(VOCAB_SIZE) for _ in range(rng.randrange(1, 20))]
    settings = random_settings(rng)
    scores = processors(settings)(torch.tensor([seen_ids]), torch.tensor([logits]))[0]
    probabilities = torch.softmax(scores, dim=-1)
    ids = [i for i in torch.argsort(scores, descending=True).tolist() if scores[i] > -torch.inf]
    return {
        "settings": settings,
        "logits": logits,
        "seen_ids": seen_ids,
        "ids": ids,
        "probabilities": [float(f"{probabilities[i]:.7g}") for i in ids],
    }


def main() -> None:
    rng = random.Random(20)
    cases = [make_case(rng) for _ in range(CASES)]
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
    text = f'{{"made_with": {json.dumps(versions)}, "cases": [\n{lines}\n]}}\n'
    Path(__file__).with_name("golden_sampling.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
