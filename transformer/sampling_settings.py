"""How the next id is chosen: the settings, which are checked without any arithmetic."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

from pi_cluster.transformer.errors import SettingsError

_MAX = sys.float_info.max
_MOST_CANDIDATES = 2**31 - 1  # beyond any vocabulary, and what a step can ask for


@dataclass(frozen=True, slots=True)
class SamplingSettings:
    """How the next id is chosen; valid from birth, else `SettingsError`.

    * ``temperature`` divides the logits (arXiv:1503.02531, section 2); 0 is greedy: always the best
    * ``top_k`` keeps the k best (arXiv:1805.04833, section 5.4); 0 keeps all
    * ``top_p`` keeps the smallest set of best ids whose probabilities reach it (nucleus sampling,
      arXiv:1904.09751, section 3.1); 1 keeps all
    * ``min_p`` drops ids less probable than this share of the best one's probability
      (arXiv:2407.01082, section 3); 0 keeps all
    * ``repeat_penalty`` weakens what the text already holds (CTRL, arXiv:1909.05858, section 4.1);
      1 changes nothing
    * ``presence_penalty`` is taken off the logit of each id that was generated, and
      ``frequency_penalty`` once for each time that it was (OpenAI's API reference, "Create chat
      completion"); 0 changes nothing
    * ``logit_bias`` is added to the logits of its ids
    * ``seed`` picks one of 2**64 series of random numbers
    """

    temperature: float = 0.7
    top_k: int = 40
    top_p: float = 1.0
    min_p: float = 0.0
    repeat_penalty: float = 1.0
    seed: int = 0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: Mapping[int, float] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        self._require(
            "temperature", _is_real(self.temperature) and self.temperature >= 0, "0 or more"
        )
        self._require(
            "top_k",
            _is_int(self.top_k) and 0 <= self.top_k <= _MOST_CANDIDATES,
            f"a whole number from 0 (off) to {_MOST_CANDIDATES}",
        )
        self._require(
            "top_p", _is_real(self.top_p) and 0 < self.top_p <= 1, "above 0, at most 1 (off)"
        )
        self._require("min_p", _is_real(self.min_p) and 0 <= self.min_p <= 1, "from 0 (off) to 1")
        self._require(
            "repeat_penalty",
            _is_real(self.repeat_penalty) and self.repeat_penalty > 0,
            "above 0; 1 is off",
        )
        self._require(
            "seed",
            _is_int(self.seed) and 0 <= self.seed < 2**64,
            "a whole number from 0 to 2**64 - 1",
        )
        for name in ("presence_penalty", "frequency_penalty"):
            value = getattr(self, name)
            self._require(name, _is_real(value) and -2 <= value <= 2, "from -2 to 2; 0 is off")
        self._check_bias()

    @property
    def needs_all_logits(self) -> bool:
        """Whether ids beyond the best may be drawn, because logits are changed before."""
        return bool(
            self.repeat_penalty != 1
            or self.presence_penalty
            or self.frequency_penalty
            or self.logit_bias
        )

    @property
    def counts_generated(self) -> bool:
        """Whether it matters how often each id was generated."""
        return bool(self.presence_penalty or self.frequency_penalty)

    def _check_bias(self) -> None:
        allowed = "a number from -100 to 100 for each of some token ids"
        self._require("logit_bias", isinstance(self.logit_bias, Mapping), allowed)
        for token, bias in self.logit_bias.items():
            if not (_is_int(token) and token >= 0 and _is_real(bias) and -100 <= bias <= 100):
                raise SettingsError(
                    f"logit_bias has {token!r}: {bias!r}; it must have token ids, each with a "
                    "number from -100 to 100"
                )
        # A copy, so that it stays as it was checked.
        object.__setattr__(self, "logit_bias", dict(self.logit_bias))

    def _require(self, name: str, holds: bool, allowed: str) -> None:
        if not holds:
            raise SettingsError(
                f"{name} = {getattr(self, name)!r} is not allowed; it must be {allowed}"
            )


def _is_real(value: object) -> bool:
    # The comparison also refuses NaN, infinities and integers beyond what a float can hold.
    return isinstance(value, float | int) and not isinstance(value, bool) and abs(value) <= _MAX


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
