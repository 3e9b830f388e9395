"""Who and what a story is about, drawn before a word of it is written."""

import random
from dataclasses import dataclass

from pi_cluster.storyteller.training.lists import (
    CHARACTERS,
    HEROES,
    LISTS,
    MORE_HEROES,
    MORE_THINGS,
    PLACES,
    PLOTS,
    THINGS,
    Hero,
)
from pi_cluster.storyteller.training.patterns import invent_word, with_article

LONG_PLOTS = ("search", "search", "owner", "mend", "journey", "journey")  # they can be drawn out


@dataclass(slots=True)
class Cast:
    """The choices behind one story; ``slots`` fills its patterns."""

    plot: str
    hero: str
    character: str
    name: str
    thing: str
    adjective: str  # of the thing, as a request may give it; may be ""
    others: list[str]
    place: str
    home: str  # "" if the story does not tell
    invented: str | None  # the slot, of n, h, o and b, whose word does not exist
    slots: dict[str, str]


def draw_cast(draw: random.Random, length: str | None, invented: str | None) -> Cast:
    """Draw everything but the sentences. ``length``: None, ``short`` or ``long``."""
    hero = _draw_hero(draw, invented)
    thing = _draw_thing(draw, hero, invented)
    plot = draw.choice(list(PLOTS))
    if plot == "star" and thing == "star":
        thing = "lantern"
    if length == "long":
        plot = draw.choice(LONG_PLOTS)
    adjective, shown = _draw_adjective(draw, PLOTS[plot].adjective)
    slots = _thing_slots(hero, thing, shown)
    character = draw.choice(list(CHARACTERS))
    slots["aadj"] = with_article(character)
    slots |= _name_slots(draw, hero, invented)
    others = _draw_others(draw, hero, thing, invented)
    slots |= _other_slots(draw, others)
    places = [f"{where} the {what}" for where, what in draw.sample(PLACES, 3)]
    place, second_place, home = places
    slots |= {"p": place, "q": second_place, "toq": toward(second_place)}
    slots["to"] = slots["top"] = toward(place)
    if draw.random() < 0.35:
        home = place
    kind = HEROES.get(hero, Hero())
    slots |= {"home": home, "hm": kind.home, "mv": kind.moves, "feat": kind.looks}
    slots["fl"] = THINGS.get(thing) or draw.choice(LISTS["said_of_any_thing"])
    return Cast(
        plot=plot,
        hero=hero,
        character=character,
        name=slots["n"],
        thing=thing,
        adjective=adjective,
        others=others,
        place=place,
        home=home,
        invented=invented,
        slots=slots,
    )


def toward(place: str) -> str:
    """``in the wood`` -> ``to the wood``."""
    return "to the " + place.split(" the ", 1)[1]


def _draw_hero(draw: random.Random, invented: str | None) -> str:
    rare = draw.random() < 0.28
    if invented == "h":
        return invent_word(draw)
    return draw.choice(MORE_HEROES if rare else list(HEROES))


def _draw_thing(draw: random.Random, hero: str, invented: str | None) -> str:
    things = MORE_THINGS if draw.random() < 0.3 else list(THINGS)
    thing = draw.choice([thing for thing in things if thing != hero])
    return invent_word(draw) if invented == "o" else thing


def _draw_adjective(draw: random.Random, wanted: str) -> tuple[str, str]:
    """The thing's adjective in the request, and the one the story shows it with."""
    looks = LISTS["looks_of_things"]
    adjective = wanted
    if not wanted:
        adjective = draw.choice(looks) if draw.random() < 0.65 else ""
    if adjective not in ("", "lost", "broken"):
        return adjective, adjective
    return adjective, draw.choice(looks) if draw.random() < 0.25 else ""


def _thing_slots(hero: str, thing: str, shown: str) -> dict[str, str]:
    shown_thing = f"{shown} {thing}".strip()
    return {
        "h": hero,
        "ah": with_article(hero),
        "o": thing,
        "O": shown_thing,
        "Oc": shown_thing.capitalize(),
        "ao": with_article(thing),
        "aO": with_article(shown_thing),
    }


def _name_slots(draw: random.Random, hero: str, invented: str | None) -> dict[str, str]:
    she = draw.random() < 0.5
    if hero in LISTS["always_she"]:
        she = True
    if hero in LISTS["always_he"]:
        she = False
    names = LISTS["girls" if she else "boys"]
    name = invent_word(draw).capitalize() if invented == "n" else draw.choice(names)
    he, him, his = ("she", "her", "her") if she else ("he", "him", "his")
    slots = {"n": name, "Hf": f"{name} the {hero}", "he": he, "him": him, "his": his}
    return slots | {"He": he.capitalize(), "His": his.capitalize()}


def _draw_others(draw: random.Random, hero: str, thing: str, invented: str | None) -> list[str]:
    """Seven others: two with a part in every plot, four to meet, a third for some plots."""
    candidates = list(HEROES) + draw.sample(MORE_HEROES, 12)
    others = draw.sample([kind for kind in candidates if kind not in (hero, thing)], 7)
    if invented == "b":
        others[0] = invent_word(draw)
    return others


def _other_slots(draw: random.Random, others: list[str]) -> dict[str, str]:
    slots = {"b": others[0], "b2": others[1], "b3": others[6]}
    for slot, other in list(slots.items()):
        adjective = draw.choice(LISTS["others"]) + " " if draw.random() < 0.2 else ""
        slots["a" + slot] = with_article(adjective + other)
        slots["A" + slot] = slots["a" + slot].capitalize()
    return slots
