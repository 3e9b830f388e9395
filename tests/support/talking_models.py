"""Models that say what a test wants to hear."""

from collections.abc import Iterable

import numpy as np

from pi_cluster.transformer.config import ModelConfig
from tests.support.checkpoints import random_weights


def talking_weights(config: ModelConfig, says: Iterable[tuple[int, int]]) -> dict[str, np.ndarray]:
    """Weights of a model that says the second id of a pair behind the first, come what may."""
    weights = random_weights(config)
    embedding, head = (np.zeros((config.vocab_size, config.dim), np.float32) for _ in range(2))
    for place, (before, after) in enumerate(says):
        embedding[before, place], head[after, place] = 1, 8
    weights |= {"tok_embeddings.weight": embedding, "output.weight": head}
    weights["norm.weight"] = np.ones(config.dim, np.float32)
    silent = ("attention.wo.weight", "feed_forward.w2.weight")
    return weights | {n: np.zeros_like(w) for n, w in weights.items() if n.endswith(silent)}
