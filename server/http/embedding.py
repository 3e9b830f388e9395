"""Embeddings, whichever API they are asked by, or why there are none."""

import numpy as np

from pi_cluster.coordinator.asking.embedding import shortened
from pi_cluster.server.asking.desk import Desk
from pi_cluster.server.http.failures import retrying
from pi_cluster.server.http.refusal import Refusal

MOST_TEXTS = 2048
"""Of one request."""


def not_offered() -> Refusal:
    """What a server says that was not told how its model makes vectors."""
    return Refusal(
        *(501, "not_offered"),
        "this server gives no embeddings: take a small model made for them, on the machine that "
        "asks, or start `pi-cluster serve --embeddings last`, or `mean`, as this one was made for",
        retrying(None),
    )


def check_dimensions(dimensions: int | None, desk: Desk) -> None:
    """Raises ``SettingsError`` for more than the model's vectors have."""
    shortened(np.empty((1, desk.card.config.dim), np.float32), dimensions)
