"""Write the training text: short stories, the requests that ask for them, questions and answers.

Everything comes from the lists and plots in ``stories/``, written from scratch for this project.
The output depends on the seed alone::

    python -m storyteller.training.generate 5 --seed 1

prints five documents, one a line, as JSON: ``[[role, text], ...]`` with the roles ``user``,
``model`` and ``plain``.
"""

import argparse
import json
import random

from pi_cluster.storyteller.training.asking import ask_for_story, ask_question
from pi_cluster.storyteller.training.story import write_story

Document = list[tuple[str, str]]

THANKS = ("Thank you.", "Thank you!", "Thanks.", "That was nice.", "I liked that.")
WELCOME = "You are welcome. Come back when you want another story."


class Generator:
    """An endless stream of documents from one seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def document(self) -> Document:
        """The next document: turns of ``(role, text)``."""
        kind = self.random.random()
        if kind < 0.13:
            return [("plain", write_story(self.random)[0])]
        return self._questions() if kind < 0.31 else self._story()

    def _questions(self) -> Document:
        turns: Document = []
        for _ in range(self.random.choice([1, 1, 1, 2, 3])):
            turns += self._question()
        if self.random.random() < 0.15:
            text, cast = write_story(self.random, "short")
            turns += [("user", ask_for_story(self.random, cast, "short")), ("model", text)]
        return turns

    def _story(self) -> Document:
        length = self.random.choice([None] * 5 + ["short"] * 2 + ["long"] * 2)
        invented = self.random.choice("nhob") if self.random.random() < 0.17 else None
        text, cast = write_story(self.random, length, invented)
        asked_length = length if self.random.random() < 0.85 else None
        request = ask_for_story(self.random, cast, asked_length)
        turns: Document = [("user", request), ("model", text)]
        sequel = self.random.random()
        if sequel < 0.05:
            turns += self._question()
        elif sequel < 0.09:
            turns += [("user", self.random.choice(THANKS)), ("model", WELCOME)]
        return turns

    def _question(self) -> Document:
        question, answer = ask_question(self.random)
        return [("user", question), ("model", answer)]


def main() -> None:
    """Print documents."""
    parser = argparse.ArgumentParser(description="Print documents of the training text.")
    parser.add_argument("count", type=int)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    generator = Generator(arguments.seed)
    for _ in range(arguments.count):
        print(json.dumps(generator.document(), ensure_ascii=False))


if __name__ == "__main__":
    main()
