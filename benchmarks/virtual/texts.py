"""The texts that virtual models play back: answers that repeat their prompts, and some that cannot.

``texts/`` holds three tasks with a prompt and the answer that a good model would give: a summary
with quotations, a small change to a function that is shown again whole, and records with a field
renamed and another one added. They are cut into pieces about as long as those of Mistral's
vocabulary: letters by up to five with the space before them, digits one by one, runs of spaces and
of punctuation. Each distinct piece is an id. The cut is the same wherever a word stands, as a real
tokenizer's is, which is what guessing from repetition depends on.
"""

import json
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.virtual.mistral import CONFIG
from benchmarks.virtual.playback import FIRST_WORD

_FOLDER = Path(__file__).with_name("texts")
RECORDED = _FOLDER / "smollm2.json"
_ANSWER = "=== answer\n"
_PIECE = re.compile(r" ?[^\W\d_]{1,5}|\d| {2,}(?=\S)|\n| ?(?:[^\w\s]|_){1,2}|\s")
_UNGUESSABLE_WORDS = 600


@dataclass(frozen=True, slots=True)
class Text:
    """A task: the ids of its prompt and of its answer."""

    prompt: tuple[int, ...]
    answer: tuple[int, ...]


def repeating() -> list[Text]:
    """The tasks of ``texts/``."""
    vocabulary: dict[str, int] = {}
    texts = []
    for path in sorted(_FOLDER.glob("*.txt")):
        prompt, answer = path.read_text(encoding="utf-8").split(_ANSWER)
        texts.append(Text(tuple(_ids(prompt, vocabulary)), tuple(_ids(answer, vocabulary))))
    return texts


def recorded() -> list[Text]:
    """Questions of a chat, and what SmolLM2-135M answered (``recording.py``)."""
    return [
        Text(tuple(text["prompt"]), tuple(text["answer"]))
        for text in json.loads(RECORDED.read_text())
    ]


def unguessable(seed: int, prompt_tokens: int, answer_tokens: int) -> Text:
    """Single ids come back, but no pair of neighbours ever does."""
    generator = random.Random(seed)  # noqa: S311
    ids = tuple(_unrepeated_pairs(generator, prompt_tokens + answer_tokens))
    return Text(ids[:prompt_tokens], ids[prompt_tokens:])


def pieces(text: str) -> list[str]:
    """A text as pieces, which joined are the text."""
    return _PIECE.findall(text)


def _ids(text: str, vocabulary: dict[str, int]) -> Iterator[int]:
    for piece in pieces(text):
        token = vocabulary.setdefault(piece, FIRST_WORD + len(vocabulary))
        assert token < CONFIG.vocab_size, "more pieces than the model has ids"
        yield token


def _unrepeated_pairs(generator: random.Random, count: int) -> list[int]:
    words = [FIRST_WORD]
    seen: set[tuple[int, int]] = set()
    while len(words) < count:
        word = FIRST_WORD + generator.randrange(_UNGUESSABLE_WORDS)
        if (pair := (words[-1], word)) not in seen:
            seen.add(pair)
            words.append(word)
    return words
