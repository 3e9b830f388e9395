"""Turning sentence patterns into sentences: alternatives, slots, articles, invented words."""

import random
import re
from collections.abc import Mapping

from pi_cluster.storyteller.training.lists import LISTS

ALTERNATIVES = re.compile(r"\[([^\[\]]*)\]")
SLOT = re.compile(r"\{(\w+)\}")
DRAWN_ANEW = {"we": "weather", "fe": "feelings", "day": "days", "day2": "nights"}
NO_CODA = [""] * 5


def with_article(word: str) -> str:
    """``an owl``, ``a unicorn``, ``an honest bear``."""
    vowel = word[0] in "aeiou" and not word.startswith("uni")
    return ("an " if vowel or word.startswith("honest") else "a ") + word


def expand(pattern: str, slots: Mapping[str, str], draw: random.Random) -> str:
    """Choose among the alternatives, innermost and leftmost first, then fill the slots."""
    while "[" in pattern:
        pattern = ALTERNATIVES.sub(lambda m: draw.choice(m[1].split("|")), pattern, count=1)
    for _ in range(2):  # what fills a slot may hold slots itself
        pattern = SLOT.sub(lambda m: _fill(m[1], slots, draw), pattern)
    return re.sub(r" +", " ", pattern).strip()


def _fill(slot: str, slots: Mapping[str, str], draw: random.Random) -> str:
    if slot == "N":
        return slots["n"] if draw.random() < 0.7 else "the " + slots["h"]
    if slot in DRAWN_ANEW:
        return draw.choice(LISTS[DRAWN_ANEW[slot]])
    return slots[slot]


def capitalise_sentences(text: str) -> str:
    """Make the first letter, and each one after a full stop, a capital."""
    return re.sub(r"(^|[.!?] )([a-z])", lambda m: m[1] + m[2].upper(), text)


def invent_word(draw: random.Random) -> str:
    """A word that does not exist: it teaches the model to copy, piece by piece, the unknown."""
    syllables = draw.choice([1, 1, 2, 2, 3])
    word = "".join(
        draw.choice(LISTS["onsets"]) + draw.choice(LISTS["vowels"]) for _ in range(syllables)
    )
    if len(word) > 3:
        return word + draw.choice(LISTS["codas"] + NO_CODA)
    return word + draw.choice(LISTS["codas_of_short_words"])
