"""Who guesses for every pipeline: those that take neither a model nor time."""

from collections.abc import Sequence

from pi_cluster.coordinator.drafting.drafter import DraftSource
from pi_cluster.coordinator.drafting.ngram import Ngrams
from pi_cluster.coordinator.drafting.recycled import ORDERS, RecycledIds


def usual_drafters() -> Sequence[DraftSource]:
    """New ones, for one scheduler."""
    return [Ngrams(), *map(RecycledIds, ORDERS)]
