"""Texts as vectors: what is asked for one, and what they are together."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pi_cluster.cluster.errors import PipelineClosed
from pi_cluster.coordinator.asking.answer import Answer
from pi_cluster.coordinator.asking.question import AskKeywords
from pi_cluster.coordinator.pooling import Pooling
from pi_cluster.transformer.errors import SettingsError

AT_ONCE = 64  # texts: far more than a pipeline reads side by side, far fewer than may wait

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Embedded:
    """The vectors of some texts."""

    vectors: Vectors
    """Shape: ``(texts, dimensions)``, each of length 1."""
    prompt_tokens: int
    """Of all texts."""


def vector_keywords(pooling: Pooling | str, *, truncate: bool = False) -> AskKeywords:
    """What `ask` is told so that its answer has the text's vector.

    Raises ``SettingsError`` for an unknown pooling.
    """
    if pooling not in list(Pooling):
        raise SettingsError(f"pooling is {pooling!r}; it must be {' or '.join(Pooling)}")
    return {
        "pooling": Pooling(pooling),
        "max_tokens": 1,
        "draft": False,
        "one_off": True,
        "truncate": truncate,
    }


def embedded(answers: Sequence[Answer], dimensions: int | None) -> Embedded:
    """What answers to `vector_keywords` are together.

    Raises ``SettingsError`` for more dimensions than there are, and ``PipelineClosed`` where one
    was ended before its vector was known.
    """
    found = [answer.vector for answer in answers if answer.vector is not None]
    if len(found) < len(answers):
        raise PipelineClosed("an answer was ended before its vector was known")
    vectors = np.stack(found) if found else np.empty((0, 0), np.float32)
    tokens = sum(len(answer.prompt_ids) for answer in answers)
    return Embedded(shortened(vectors, dimensions) if found else vectors, tokens)


def shortened(vectors: Vectors, dimensions: int | None) -> Vectors:
    """The first ``dimensions`` of each vector, of length 1 again.

    Raises ``SettingsError`` for more than there are.
    """
    if dimensions is None:
        return vectors
    if not 1 <= dimensions <= vectors.shape[1]:
        raise SettingsError(f"dimensions is {dimensions}; it must be from 1 to {vectors.shape[1]}")
    kept = vectors[:, :dimensions].astype(np.float64)
    lengths = np.sqrt(np.sum(kept * kept, axis=1, keepdims=True))
    scaled: npt.NDArray[np.float64] = kept / np.where(lengths > 0, lengths, 1.0)
    return scaled.astype(np.float32)
