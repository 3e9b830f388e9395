"""What people ask: for a story, about the model itself, or what it cannot know."""

import random
import re

from pi_cluster.storyteller.training.cast import Cast
from pi_cluster.storyteller.training.lists import ANSWERS, HEROES, LISTS, THINGS, UNANSWERABLE
from pi_cluster.storyteller.training.patterns import with_article

ASK = (
    "Please tell me a {story} about {what}.",
    "Can you tell me a {story} about {what}?",
    "Write a {story} about {what}.",
    "Tell a {story} about {what}.",
    "I want a {story} about {what}.",
    "A {story} about {what}, please.",
    "Write me a {story} about {what}.",
    "I would like to hear a {story} about {what}.",
)
ASK_FOR_ANY = (
    "Tell me a {length}story.",
    "Please tell me a {length}story.",
    "Tell me something nice.",
    "Can you tell me a {length}story?",
    "I cannot sleep.",
    "Tell me another {length}story.",
    "Another one, please.",
)
REFUSALS = (
    "I am too small to know that. But I can tell you a story about {hero} and {thing}.",
    "That is too big a question for me. Shall I tell you a story about {hero} instead?",
    "I do not know. I only know stories. Ask me for one about {hero} and {thing}.",
)
GREETINGS: tuple[str, ...] = ("Hello, my name is {name}.", "Hi, I am {name}.", "My name is {name}.")
GREETINGS += ("I am called {name}.",)
FIRST_ANSWERS = 5  # who it is, what it can do, its layers: asked more often than the others


def ask_for_story(draw: random.Random, cast: Cast, length: str | None) -> str:
    """A request that the story of ``cast`` answers."""
    what = _name_parts(draw, cast)
    if cast.home and draw.random() < 0.12:
        what += " " + cast.home
    if length:
        length += " "
    else:
        small_talk = draw.random() < 0.08
        length = draw.choice(["little ", "nice ", "bedtime ", "funny "]) if small_talk else ""
    story = length + draw.choice(["story"] * 8 + ["tale"] * 2)
    request = draw.choice(
        [f"Tell me a {story} about {what}."] * 9
        + [pattern.format(story=story, what=what) for pattern in ASK]
        + [f"{story} about {what}".capitalize(), what[0].upper() + what[1:] + "."]
    )
    if not cast.invented and draw.random() < 0.04:
        request = draw.choice(ASK_FOR_ANY).format(length=length)
    return _carelessly(draw, request, 0.08, ".?")


def ask_question(draw: random.Random) -> tuple[str, str]:
    """A question and its answer."""
    if draw.random() < 0.22:
        question, answer = _unanswerable(draw)
    elif draw.random() < 0.08:
        name = draw.choice(LISTS["girls"] + LISTS["boys"])
        question = draw.choice(GREETINGS).format(name=name)
        answer = f"Hello {name}! It is nice to meet you. Shall I tell you a story?"
    else:
        often = draw.random() < 0.25
        questions, answer = draw.choice(ANSWERS[:FIRST_ANSWERS] if often else ANSWERS)
        question = draw.choice(questions)
    return _carelessly(draw, question, 0.1, ".?!"), answer


def _name_parts(draw: random.Random, cast: Cast) -> str:
    """Hero, second character and thing, or some of them, as a list in words."""
    hero = with_article((cast.character + " " if draw.random() < 0.55 else "") + cast.hero)
    if cast.invented == "n" or draw.random() < 0.1:
        hero += draw.choice([" called ", " named "]) + cast.name
    thing = cast.thing
    told = 0.9 if cast.adjective in ("lost", "broken", "magic") else 0.7
    if cast.adjective and draw.random() < told:
        thing = f"{cast.adjective} {thing}"
    thing, other = with_article(thing), with_article(cast.others[0])
    parts = [hero]
    form = _draw_form(draw, cast.invented)
    if form < 0.62:
        parts = [hero, thing]
    elif form < 0.70:
        parts = [hero, other, thing]
    elif form < 0.78:
        parts = [hero, other]
    elif form < 0.82:
        parts = [thing]
    if draw.random() < 0.06:
        parts = [re.sub(r"^an? ", "the ", part) for part in parts]
    *first, last = parts
    return ", ".join(first) + " and " + last if first else last


def _draw_form(draw: random.Random, invented: str | None) -> float:
    """Which parts a request names, in 0..1; always one that names the invented word."""
    with_other = draw.choice([0.65, 0.75])
    if invented in ("o", "b"):
        return 0.3 if invented == "o" else with_other
    form = draw.random()
    return 0.3 if invented in ("h", "n") and form >= 0.78 else form


def _unanswerable(draw: random.Random) -> tuple[str, str]:
    question, answer = draw.choice(UNANSWERABLE), draw.choice(REFUSALS)
    hero, thing = draw.choice(list(HEROES)), draw.choice(list(THINGS))
    question = question.replace("#", str(draw.randint(2, 99)))
    question = question.replace("%", str(draw.randint(2, 99)))
    question = question.replace("@", draw.choice(LISTS["countries"]))
    return question, answer.format(hero=with_article(hero), thing=with_article(thing))


def _carelessly(draw: random.Random, text: str, share: float, marks: str) -> str:
    """As people type: now and then without capitals, or without the last full stop."""
    slip = draw.random()
    if slip < share:
        return text.lower()
    return text.rstrip(marks) if slip < 2 * share else text
