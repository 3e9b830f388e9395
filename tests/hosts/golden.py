"""What the demo's prompt is answered with, as transformers computed it."""

import json
from pathlib import Path

import storyteller
from tests.stores import shard
from tests.testbed.operator_host import Operator

PROMPT = "Tell me a story about a brave fox and a lost kite."

_GOLDENS = Path(__file__).parents[1] / "parity" / "goldens" / "storyteller.json"
_IDS = 24


def make_store(folder: Path) -> Path:
    """The embedded model with the weights as they were trained, with which the ids are golden."""
    shard(storyteller.checkpoint_path(), folder / "store", "f32")
    return folder / "store"


def golden_ids() -> list[int]:
    """The first ids of the answer."""
    cases = json.loads(_GOLDENS.read_text())
    ids: list[int] = next(case["greedy_ids"] for case in cases if PROMPT in case["prompt"])
    return ids[:_IDS]


def answered_ids(operator: Operator) -> list[int]:
    """What the operator's cluster answers."""
    words = ("--temperature", "0", "--max-tokens", str(_IDS), "--json")
    ids: list[int] = operator.run("pi-cluster", "prompt", PROMPT, *words).json()["ids"]
    return ids
