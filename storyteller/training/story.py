"""Writing one story: the cast's plot, with an opening, encounters on the way and a closing."""

import random
import re

from pi_cluster.storyteller.training.cast import Cast, draw_cast, toward
from pi_cluster.storyteller.training.lists import CHARACTERS, LISTS, PHRASES, PLACES, PLOTS
from pi_cluster.storyteller.training.patterns import capitalise_sentences, expand, with_article

FIRST_MET = 2  # index among the cast's others; 0 and 1 have a part of their own
IN_TURN = ("First", "Then", "Next", "After that")


def write_story(
    draw: random.Random, length: str | None = None, invented: str | None = None
) -> tuple[str, Cast]:
    """A story and the cast it is about. ``length``: None, ``short`` or ``long``."""
    cast = draw_cast(draw, length, invented)
    plot = PLOTS[cast.plot]
    patterns = _opening(draw, cast, length)
    if plot.hero_owns_thing:
        patterns += PHRASES["own"]
    meetings = _count_meetings(draw, cast, length)
    tasks = draw.sample(LISTS["tasks"], 8)
    further_on = draw.sample(LISTS["further_on"], len(LISTS["further_on"]))
    for sentence in plot.sentences:
        if not sentence.startswith("@"):
            patterns.append(sentence)
            continue
        for number in range(meetings):
            slots = cast.slots | _meeting_slots(draw, cast, number, meetings)
            slots |= {"do": tasks[number], "open": further_on[number]}
            patterns.append(expand(draw.choice(PHRASES[sentence[1:]]), slots, draw))
        if sentence == "@search":
            patterns.append(draw.choice(PHRASES["searchlast"]))
    if draw.random() < (0.5 if length == "short" else 0.8):
        patterns += PHRASES["end"]
    if draw.random() < 0.4:
        lead = "The moral: " if draw.random() < 0.5 else ""
        patterns.append(lead + draw.choice(plot.morals))
    slots = cast.slots | {"do": tasks[7]}
    sentences = [capitalise_sentences(expand(pattern, slots, draw)) for pattern in patterns]
    return _restate_hero(draw, " ".join(filter(None, sentences)), cast), cast


def _opening(draw: random.Random, cast: Cast, length: str | None) -> list[str]:
    """Who the hero is and, sometimes, where it lives, what it looks like and how it is."""
    usual, *others = PHRASES["start"]
    start = draw.choice([usual] * 4 + others)
    patterns = [start]
    detail = {"short": 0.2, "long": 0.6}.get(length or "", 0.5)
    if "{home}" not in start:
        if draw.random() < detail + 0.1:
            shell = cast.slots["hm"] == "shell"
            inside = "" if shell else "[|, in a [small|cosy|snug] {hm}]"
            patterns.append("{n} lived {home}" + inside + ".")
        else:
            cast.home = ""
    if draw.random() < detail:
        patterns.append("{n} the {h} had {feat}.")
    if draw.random() < detail + 0.15:
        patterns.append(CHARACTERS[cast.character])
    return patterns


def _count_meetings(draw: random.Random, cast: Cast, length: str | None) -> int:
    # Both are drawn whatever the length, so that a seed's later draws do not depend on it.
    long, usual = draw.randint(3, 4), draw.choice([0, 1, 1, 2])
    meetings = {"short": 0, "long": long}.get(length or "", usual)
    return max(1, meetings) if cast.plot == "journey" else meetings


def _meeting_slots(draw: random.Random, cast: Cast, number: int, meetings: int) -> dict[str, str]:
    met = cast.others[FIRST_MET + number]
    last = number + 1 == meetings
    then = IN_TURN[number] if draw.random() < 0.7 else draw.choice(["Soon", "Then"])
    elsewhere = [f"{where} the {what}" for where, what in PLACES]
    place = draw.choice([place for place in elsewhere if place != cast.place])
    return {
        "c": met,
        "ac": with_article(met),
        "e": cast.others[0] if last else cast.others[FIRST_MET + number + 1],
        "then": then,
        "q": place,
        "Q": place[0].upper() + place[1:],
        "toq": toward(place),
    }


def _restate_hero(draw: random.Random, text: str, cast: Cast) -> str:
    """Say now and then who the hero is, so that it stays within the model's window."""
    name_alone = rf'(?<=[.!?"] ){cast.name} (?=[a-z])(?!the |and |can )'
    full = f"{cast.name} the {cast.hero} "
    return re.sub(name_alone, lambda m: full if draw.random() < 0.22 else m[0], text)
