"""A model's vocabulary for constraints, where the library for them is installed."""

import sys
from collections.abc import Collection
from typing import TYPE_CHECKING

from pi_cluster.transformer.errors import PromptError
from pi_cluster.transformer.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from pi_cluster.coordinator.constraining.llguidance_constraint import Vocabulary


def build_vocabulary(
    tokenizer: Tokenizer, vocab_size: int, eos_ids: Collection[int]
) -> "Vocabulary":
    """See `Vocabulary`; raises `PromptError` where the library or an end of texts is missing."""
    if not eos_ids:
        raise PromptError("this model has no end of a text, so no answer of it can keep to a form")
    try:
        from pi_cluster.coordinator.constraining.llguidance_constraint import Vocabulary
    except ModuleNotFoundError as error:
        if error.name != "llguidance":
            raise
        raise PromptError(
            "for schemas and tools, llguidance is missing: install it with "
            f"`{sys.executable} -m pip install llguidance`"
        ) from None
    return Vocabulary(tokenizer, vocab_size, eos_ids)
