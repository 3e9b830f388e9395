"""How long a text may become in a pipeline, known before anything is asked."""

from collections.abc import Sequence
from dataclasses import dataclass

from pi_cluster.coordinator.scheduling.cache_limits import CacheLimits
from pi_cluster.coordinator.served_model import ServedModel


@dataclass(frozen=True, slots=True)
class Room:
    """The bounds by which a scheduler would refuse a text."""

    model: ServedModel
    limits: CacheLimits

    def check(self, prompt_ids: Sequence[int], max_tokens: int) -> None:
        """Raise ``PromptError`` for ids that the model cannot take, or that have no room."""
        self.model.check_prompt(prompt_ids)
        # The last token is sampled and never sent.
        self.limits.check_room(self.model.longest(len(prompt_ids), max_tokens) - 1)

    @property
    def most_prompt_tokens(self) -> int | None:
        """Tokens of the longest prompt that any answer may follow; None where there is no bound."""
        context = None if self.model.context is None else self.model.context - 1
        caches = self.limits.cache_positions
        bounds = (context, None if self.limits.capacity <= caches else caches)
        return min((bound for bound in bounds if bound is not None), default=None)

    def most_tokens(self, prompt_tokens: int, wanted: int) -> int:
        """As many of the ``wanted`` tokens as may follow a prompt; at least 1."""
        longest = self.model.longest(prompt_tokens, wanted)
        if self.limits.tiles(longest - 1) <= self.limits.cache_positions:
            return wanted
        return max(1, self.limits.cache_positions - prompt_tokens + 1)
