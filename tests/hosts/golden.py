"""What the demo's prompt is answered with, as transformers computed it."""

import json
from pathlib import Path

from tests.testbed.operator_host import Operator

PROMPT = "Tell me a story about a brave fox and a lost kite."

_GOLDENS = Path(__file__).parents[1] / "parity" / "goldens" / "storyteller.json"
IDS = 24


def golden_ids() -> list[int]:
    """The first ids of the answer."""
    cases = json.loads(_GOLDENS.read_text())
    ids: list[int] = next(case["greedy_ids"] for case in cases if PROMPT in case["prompt"])
    return ids[:IDS]


def answered_ids(operator: Operator) -> list[int]:
    """What the operator's cluster answers."""
    words = ("--temperature", "0", "--max-tokens", str(IDS), "--json")
    ids: list[int] = operator.run("pi-cluster", "prompt", PROMPT, *words).json()["ids"]
    return ids
