"""A text cut as llama.cpp's perplexity tool cuts it, so that the figures can be compared.

Passages of equal length follow each other, and what is left over at the end is not read. The first
tokens of each are replaced by what begins every text, such as ``<s>``. The first half of a passage
is context alone: token ``size // 2 + 1`` is the first one that is scored.
Source: llama.cpp, tools/perplexity/perplexity.cpp.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pi_cluster.transformer.errors import PromptError

LEAST_TOKENS = 16
"""Of a passage: there is something to learn from, whatever begins it."""


@dataclass(frozen=True, slots=True)
class Passage:
    """Some tokens of a text, read by themselves."""

    ids: Sequence[int]

    @property
    def first_scored(self) -> int:
        """Which of them is the first that is scored."""
        return len(self.ids) // 2 + 1

    @property
    def prompt(self) -> Sequence[int]:
        """What is read: nothing stands behind the last one."""
        return self.ids[:-1]

    @property
    def scored(self) -> Sequence[int]:
        """What is scored, each by the row before it."""
        return self.ids[self.first_scored :]


def passages(
    ids: Sequence[int], opening: Sequence[int], size: int, most: int | None = None
) -> list[Passage]:
    """The first ``most`` passages of ``size`` tokens of a text that begins with ``opening``.

    Raises ``PromptError`` for a text that is shorter than one.
    """
    count = len(ids) // size
    if not count:
        raise PromptError(
            f"the text has {len(ids)} tokens, and a passage {size}: give a longer text, or a "
            "smaller --context"
        )
    starts = range(0, size * min(count, most or count), size)
    return [Passage([*opening, *ids[start + len(opening) : start + size]]) for start in starts]
