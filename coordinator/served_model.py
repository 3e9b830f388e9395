"""What a coordinator must know of the model that its pipeline serves."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pi_cluster.cluster import settings
from pi_cluster.cluster.advice import command
from pi_cluster.transformer.errors import PromptError, PromptTooLong, SettingsError


@dataclass(frozen=True, slots=True)
class ServedModel:
    """The bounds of ids and texts, and what ends a text."""

    vocab_size: int
    bos_id: int | None
    """What begins a text; None if nothing does."""
    eos_ids: frozenset[int]
    context: int | None
    """Most positions of one text; None with a window, where texts grow without end."""
    made_for: int = 0
    """Positions that the model was made for; 0 where that is not known."""
    dim: int = 0
    """Numbers of a hidden state; 0 where nobody asks for one."""
    cluster: str = settings.DEFAULT_CLUSTER
    """Whose pipeline serves it."""

    def room_for(self, positions: int) -> str:
        """What to do about a text that is longer than the context."""
        if self.context is not None and self.context >= self.made_for > 0:
            return "make it shorter; a larger --context is none that the model was made for"
        enough = 1 << positions.bit_length()
        more = min(enough, self.made_for) if self.made_for else enough
        return f"make it shorter, or run `{command(self.cluster, 'up', '--context', str(more))}`"

    def longest(self, prompt_tokens: int, max_tokens: int) -> int:
        """Tokens of a text at its end. The last of them is sampled and never sent."""
        asked = prompt_tokens + max_tokens
        return asked if self.context is None else min(asked, self.context)

    def check_bias(self, ids: Iterable[int]) -> None:
        """Raise ``SettingsError`` for a bias of ids that the model does not have."""
        for token_id in ids:
            if token_id >= self.vocab_size:
                raise SettingsError(
                    f"logit_bias has token id {token_id}, which is outside the vocabulary "
                    f"0..{self.vocab_size - 1}"
                )

    def check_prompt(self, ids: Sequence[int]) -> None:
        """Raise ``PromptError`` unless the pipeline can take these ids as a prompt."""
        if not ids:
            raise PromptError("the prompt is empty: give it at least one token")
        for token_id in ids:
            if not 0 <= token_id < self.vocab_size:
                raise PromptError(
                    f"token id {token_id} is outside the vocabulary 0..{self.vocab_size - 1}"
                )
        if self.context is not None and len(ids) >= self.context:
            raise PromptTooLong(
                f"the prompt has {len(ids)} tokens and the pipeline's context is {self.context}: "
                f"{self.room_for(len(ids) + 1)}"
            )
