"""The word lists, plots and phrases of ``stories/``, read once.

Every draw of the generator is a choice from one of these sequences, so their order is part of
what a seed means: add at the end, or expect other stories.
"""

from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).resolve().parent / "stories"


@dataclass(frozen=True, slots=True)
class Hero:
    """What a kind of hero brings along."""

    home: str = "house"
    moves: str = "hurried"
    looks: str = "a warm smile"


@dataclass(frozen=True, slots=True)
class Plot:
    """A list of sentence patterns. ``adjective`` is what its thing must be, "" if anything."""

    adjective: str
    hero_owns_thing: bool
    sentences: tuple[str, ...]
    morals: tuple[str, ...]


def read_lines(name: str) -> list[str]:
    """The lines of a file, comments ("# ...") left out."""
    text = (FOLDER / name).read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line != "#" and not line.startswith("# ")]


def read_paragraphs(name: str) -> list[str]:
    """The paragraphs of a file, each joined into one line."""
    paragraphs = "\n".join(read_lines(name)).split("\n\n")
    return [" ".join(paragraph.split()) for paragraph in paragraphs if paragraph.strip()]


def read_table(name: str) -> dict[str, list[str]]:
    """Lines of the form ``key | column | column``."""
    rows = [line.split(" | ") for line in read_lines(name)]
    return {key: columns for key, *columns in rows}


def read_pairs(name: str, separator: str) -> list[tuple[str, str]]:
    """Paragraphs of the form ``left <separator> right``."""
    pairs = (paragraph.partition(separator) for paragraph in read_paragraphs(name))
    return [(left, right) for left, _, right in pairs]


def read_plots(name: str) -> dict[str, Plot]:
    """Plots, each introduced by ``== name | adjective of its thing | hero or other``."""
    plots: dict[str, Plot] = {}
    for chapter in "\n".join(read_paragraphs(name)).split("== ")[1:]:
        head, *body = chapter.strip().split("\n")
        title, adjective, owner = head.split(" | ")
        plots[title] = Plot(
            adjective="" if adjective == "any" else adjective,
            hero_owns_thing=owner == "hero",
            sentences=tuple(p for p in body if not p.startswith("moral = ")),
            morals=tuple(p.removeprefix("moral = ") for p in body if p.startswith("moral = ")),
        )
    return plots


def read_phrases(name: str) -> dict[str, list[str]]:
    """Patterns by the key in front of them; a key may come several times."""
    phrases: dict[str, list[str]] = {}
    for key, pattern in read_pairs(name, " = "):
        phrases.setdefault(key, []).append(pattern)
    return phrases


HEROES = {kind: Hero(*columns) for kind, columns in read_table("heroes.txt").items()}
MORE_HEROES = " ".join(read_lines("more-heroes.txt")).split()
THINGS = {thing: sentence for thing, (sentence,) in read_table("things.txt").items()}
MORE_THINGS = " ".join(read_lines("more-things.txt")).split()
CHARACTERS = {how: sentence for how, (sentence,) in read_table("characters.txt").items()}
LISTS = {key: entries.split(" | ") for key, entries in read_pairs("lists.txt", " = ")}
PLACES = [tuple(place.split(" the ", 1)) for place in LISTS["places"]]
PLOTS = read_plots("plots.txt")
PHRASES = read_phrases("phrases.txt")
ANSWERS = [(asked.split(" | "), answer) for asked, answer in read_pairs("questions.txt", " => ")]
UNANSWERABLE = read_lines("unanswerable.txt")
