"""From logits to the next id: the best candidates, the draw.

The steps and their order are those of Hugging Face transformers: repetition penalty, temperature,
top-k, top-p, min-p, draw; a bias comes before the repetition penalty, presence and frequency
penalties behind it, as in vLLM and llama.cpp. The draw depends on logits, settings and position
alone, so that a text comes out the same when it is replayed, when its tokens were guessed
beforehand, and whoever else is served in between.
"""

import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

# By name: numpy loads it when first asked, and a Ctrl-C during that is swallowed.
from numpy.random import Generator, Philox

from pi_cluster.transformer.errors import ModelError
from pi_cluster.transformer.sampling_settings import SamplingSettings

Ids = npt.NDArray[np.int32]
Logits = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

_MAX = sys.float_info.max
_COLUMN = 64  # of so many logits about one is looked at closely
_NOTHING: Mapping[int, int] = MappingProxyType({})


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """The best n ids of one position, by falling logit, equal logits by rising id.

    Shapes: ``ids (n,) int32``, ``logits (n,) float32``, n >= 1. NaN stands first.
    """

    ids: Ids
    logits: Logits

    def __post_init__(self) -> None:
        if self.ids.ndim != 1 or self.ids.shape != self.logits.shape or self.ids.size == 0:
            raise ModelError(
                f"candidates need as many ids as logits, and at least one: "
                f"ids {self.ids.shape}, logits {self.logits.shape}"
            )


def top_candidates(logits: Logits, count: int) -> Candidates:
    """The ``count`` best ids of one position, or all where ``count`` is 0.

    Shapes: ``logits (vocab_size,)`` -> n = min(count, vocab_size). The order, and which of several
    equal logits come in last, are fixed: the lower ids.
    """
    keys = logits
    if np.isnan(logits.max(initial=-np.inf)):
        # NaN counts as the best, so that it reaches `sample`, however few candidates travel.
        keys = np.where(np.isnan(logits), np.float32(np.inf), logits)
    ids = _best(keys, count).astype(np.int32)
    return Candidates(ids, logits[ids].astype(np.float32, copy=False))


def log_sum_exp(logits: Logits) -> float:
    """Log of the sum of exp over all logits: what a logit lacks of its log-probability."""
    best = float(logits.max())
    if not np.isfinite(best):
        return best
    return best + float(np.log(np.exp(logits.astype(np.float64) - best).sum()))


def candidates_needed(settings: SamplingSettings) -> int:
    """How many of the best logits decide the draw as surely as all of them; 0 means all."""
    if settings.needs_all_logits:
        return 0
    return 1 if settings.temperature == 0 else settings.top_k


def sample(
    candidates: Candidates,
    settings: SamplingSettings,
    position: int,
    seen_ids: Collection[int],
    generated: Mapping[int, int] = _NOTHING,
) -> int:
    """Draw the id that stands at ``position``, a pure function of the arguments.

    ``candidates`` are at least `candidates_needed`; more change nothing. ``seen_ids`` are the ids
    of the prompt and of what was generated; ``generated`` has how often each of the latter was,
    where ``counts_generated``. The random number is the first one of Philox, a
    counter-based generator (Salmon et al., SC 2011), under the key (seed, position). Raises
    `ModelError` where the logits are NaN or infinite.
    """
    if not np.isfinite(candidates.logits[0]) or np.isnan(candidates.logits).any():
        raise ModelError(
            f"the model produced NaN or infinite logits at position {position}: its weights are "
            f"damaged; check the store's files"
        )
    ids, probabilities = distribution(candidates, settings, seen_ids, generated)
    if ids.size == 1:
        return int(ids[0])  # whatever the number: making it costs more than all the rest
    # As an array: numpy would read a list with a seed over 2**63 as floats.
    key = np.array([settings.seed, position], dtype=np.uint64)
    uniform = Generator(Philox(key=key)).random()
    sums = np.cumsum(probabilities)
    return int(ids[np.searchsorted(sums, uniform * sums[-1], side="right")])


def distribution(
    candidates: Candidates,
    settings: SamplingSettings,
    seen_ids: Collection[int],
    generated: Mapping[int, int] = _NOTHING,
) -> tuple[Ids, Doubles]:
    """The ids that can be drawn and the probability of each, by falling probability.

    Of several equal logits at the boundary of top-k, the lower ids are kept, k in all; transformers
    would keep all of them. Shapes: ``(m,)``, ``(m,)`` with 1 <= m <= n.
    """
    count = 1 if settings.temperature == 0 else settings.top_k
    ids, logits = candidates.ids, candidates.logits.astype(np.float64)
    if settings.needs_all_logits:
        logits = _changed(ids, logits, settings, seen_ids, generated)
        # `_best` settles ties by index, so let the index rise with the id.
        by_id = np.argsort(ids)
        best = by_id[_best(logits[by_id], count)]
        ids, logits = ids[best], logits[best]
    ids, logits = ids[: count or None], logits[: count or None]
    if settings.temperature == 0:
        return ids, np.ones(1)
    with np.errstate(over="ignore"):
        weights = np.exp((logits - logits[0]) / settings.temperature)
    if settings.top_p < 1:
        sums = np.cumsum(weights)
        weights = weights[: np.searchsorted(sums, settings.top_p * sums[-1]) + 1]
    # The best weight is 1, so a weight is already its share of the best one's probability.
    weights = weights[weights >= settings.min_p]
    return ids[: weights.size], weights / weights.sum()


def _changed(
    ids: Ids,
    logits: Doubles,
    settings: SamplingSettings,
    seen_ids: Collection[int],
    generated: Mapping[int, int],
) -> Doubles:
    """The logits with bias and penalties; a seen one is divided by a repetition penalty if it is
    positive, else multiplied.
    """
    if settings.logit_bias:
        logits = logits + _numbers(ids, settings.logit_bias)
    if settings.repeat_penalty != 1:
        seen = np.isin(ids, np.fromiter(seen_ids, dtype=np.int64, count=len(seen_ids)))
        penalty = settings.repeat_penalty
        with np.errstate(over="ignore"):
            changed = np.where(logits > 0, logits / penalty, logits * penalty)
        logits = np.where(seen, np.clip(changed, -_MAX, _MAX), logits)
    if settings.counts_generated and generated:
        counts = _numbers(ids, generated)
        penalties = settings.presence_penalty * (counts > 0) + settings.frequency_penalty * counts
        logits = logits - penalties
    return logits


def _numbers(ids: Ids, by_id: Mapping[int, float]) -> Doubles:
    """The number of each id, 0 for those that have none. Shapes: ``ids (n,)`` -> ``(n,)``."""
    known = np.array(sorted(by_id.items()), dtype=np.float64)
    at = np.minimum(np.searchsorted(known[:, 0], ids), len(known) - 1)
    return np.where(known[at, 0] == ids, known[at, 1], 0.0)


def _best(keys: npt.NDArray[np.floating], count: int) -> npt.NDArray[np.intp]:
    """Indices of the ``count`` largest keys (0: all), largest first, ties by rising index."""
    if not 0 < count < keys.size:
        return np.argsort(-keys, kind="stable")
    if count == 1:
        return np.array([keys.argmax()])  # the first of several
    if keys.size < count * _COLUMN:
        return _best_few(keys, count)
    # The largest of each of many columns are keys too, so the `count`-th of those is no larger than
    # the `count`-th of all. Of a vocabulary's logits few reach it.
    columns = keys.size // _COLUMN
    tops = keys[: columns * _COLUMN].reshape(_COLUMN, columns).max(axis=0)
    among = np.flatnonzero(keys >= _nth_largest(tops, count))
    return among[_best_few(keys[among], count)]


def _best_few(keys: npt.NDArray[np.floating], count: int) -> npt.NDArray[np.intp]:
    """What `_best` says, where most of the keys are among the largest."""
    boundary = _nth_largest(keys, count)
    above = np.flatnonzero(keys > boundary)
    level = np.flatnonzero(keys == boundary)[: count - above.size]
    chosen: npt.NDArray[np.intp] = np.concatenate([above, level])
    order: npt.NDArray[np.intp] = np.lexsort((chosen, -keys[chosen]))
    return chosen[order]


def _nth_largest(keys: npt.NDArray[np.floating], count: int) -> np.floating:
    largest: np.floating = np.partition(keys, keys.size - count)[keys.size - count]
    return largest
