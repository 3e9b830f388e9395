"""What is checked before the pipeline is asked anything: text, lengths, and the reference's ids."""

from collections.abc import Sequence
from dataclasses import dataclass

from pi_cluster.cluster.errors import StoreError
from pi_cluster.cluster.store.store import Store
from pi_cluster.coordinator.evaluating.passages import Passage, passages
from pi_cluster.coordinator.records.pipeline_record import PipelineRecord
from pi_cluster.coordinator.room import Room
from pi_cluster.coordinator.text_model import TextModel
from pi_cluster.transformer.errors import PromptError, PromptTooLong


@dataclass(frozen=True, slots=True)
class EvaluatedText:
    """A text as the model that is up reads it."""

    text: str
    ids: Sequence[int]
    passages: Sequence[Passage]


def evaluated_text(record: PipelineRecord, text: str, size: int, most: int | None) -> EvaluatedText:
    """The first ``most`` passages of ``size`` tokens.

    Raises ``PromptTooLong`` where the pipeline has no room for one, and ``PromptError`` for a model
    without text, or for a text that is shorter.
    """
    served, model = record.model, record.text_model()
    longest = Room(served, record.cache_limits).most_prompt_tokens
    if longest is not None and size - 1 > longest:
        raise PromptTooLong(
            f"--context is {size}, and the pipeline has room for texts of {longest + 1} tokens: "
            f"{served.room_for(size)}"
        )
    if not model.has_tokenizer:
        fault = model.fault or "its store has no tokenizer that can be read"
        raise PromptError(
            f"the model that is up cannot read text: {fault}. Add its tokenizer to the checkpoint, "
            "then `pi-cluster shard` and `up` it again"
        )
    ids = model.raw_ids(text)
    return EvaluatedText(text, ids, passages(ids, model.opening_ids, size, most))


def check_reference(store: Store, evaluated: EvaluatedText, vocab_size: int) -> None:
    """Raise ``StoreError`` unless a store's model reads the same text as the same ids."""
    only = "--against takes a store of the same model, in another format"
    theirs = int(store.manifest.config["vocab_size"])
    if theirs != vocab_size:
        raise StoreError(
            f"{store.path} has a vocabulary of {theirs} tokens, the model that is up one of "
            f"{vocab_size}: {only}"
        )
    model = TextModel(store.path, store.manifest)
    if not model.has_tokenizer:
        raise StoreError(
            f"{store.path} has no tokenizer that can be read, so nobody can tell whether its ids "
            f"mean the same: {only}"
        )
    if model.raw_ids(evaluated.text) != evaluated.ids:
        raise StoreError(
            f"{store.path} has another tokenizer, which reads this text as other tokens: {only}"
        )
