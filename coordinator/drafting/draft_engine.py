"""A small model of the same vocabulary, which runs somewhere beside the pipeline."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt


class DraftFailed(Exception):
    """The small model does not answer; no text is any the worse for it. The message says why."""


class DraftEngine(Protocol):
    """Computes what a small model says, with caches of its own. Used by one thread."""

    @property
    def vocab_size(self) -> int:
        """That of the model whose texts it guesses."""
        ...

    @property
    def most_texts(self) -> int:
        """Sequences whose caches it can hold at once."""
        ...

    @property
    def most_positions(self) -> int | None:
        """Positions that a sequence may reach; None where its caches go round."""
        ...

    def compute(self, sequence: int, start: int, ids: Sequence[int]) -> npt.NDArray[np.float32]:
        """Read ids from position ``start`` on; the logits of what follows the last of them.

        What is held behind ``start`` is forgotten; at 0 a sequence begins anew. Shape:
        ``(vocab_size,)``. Returns within bounded time. Raises `DraftFailed` when it cannot, and is
        then used no more.
        """
        ...

    def can_go_back(self, sequence: int, length: int) -> bool:
        """Whether a sequence can go on behind its first ``length`` positions."""
        ...

    def end(self, sequence: int) -> None:
        """Free a sequence's caches, if there are any. Raises as `compute` does."""
        ...
