"""One vector for a text, of the states that its positions have behind the last layer."""

from enum import StrEnum

import numpy as np
import numpy.typing as npt

from pi_cluster.transformer.errors import ModelError

Vector = npt.NDArray[np.float32]


class Pooling(StrEnum):
    """Which states a text's vector is made of."""

    LAST = "last"
    """That of its last token alone, as e5-mistral (arXiv:2401.00368) and Qwen3's models are."""
    MEAN = "mean"
    """The mean of all."""


class Pooled:
    """Takes the states of one text, in the order of their positions."""

    def __init__(self, pooling: Pooling) -> None:
        self._pooling = pooling
        self._sum: npt.NDArray[np.float64] | None = None

    def add(self, state: Vector) -> None:
        """The next position's. Shape: ``(dim,)``. Raises ``ModelError`` for what is no number."""
        if not np.isfinite(state).all():
            raise ModelError(
                "the model produced NaN or infinite states: its weights are damaged; check the "
                "store's files"
            )
        if self._pooling is Pooling.MEAN and self._sum is not None:
            # One after another: how the text was cut into chunks must not show.
            self._sum = self._sum + state.astype(np.float64)
        else:
            self._sum = state.astype(np.float64)

    def vector(self) -> Vector:
        """Of length 1. Shape: ``(dim,)``. Raises ``RuntimeError`` before the first state."""
        if self._sum is None:
            raise RuntimeError("a text without states has no vector")
        length = float(np.sqrt(np.sum(self._sum * self._sum)))
        return (self._sum / (length or 1.0)).astype(np.float32)
