"""Models that call tools, as much of each as calls need."""

from collections.abc import Collection, Sequence
from functools import cache

from pi_cluster.coordinator.calling.call_format import CallFormat
from pi_cluster.coordinator.calling.generic import Generic
from pi_cluster.coordinator.calling.hermes import Hermes
from pi_cluster.coordinator.calling.llama import Llama
from pi_cluster.coordinator.calling.mistral import MistralList
from pi_cluster.coordinator.calling.mistral_arguments import MistralArguments
from pi_cluster.coordinator.constraining.building import build_vocabulary
from pi_cluster.coordinator.constraining.llguidance_constraint import Vocabulary
from pi_cluster.transformer.checkpoint_file import read_object
from pi_cluster.transformer.text.added_tokens import AddedToken
from pi_cluster.transformer.text.detokenizer import IncrementalDetokenizer, shown_bytes
from pi_cluster.transformer.text.loading import load_sentencepiece, load_tekken
from pi_cluster.transformer.text.tokenizer import Tokenizer
from tests.support.small_tokenizers import MISTRAL, STORYTELLER

FIRST_ADDED = 2_048
SIZE = 2_059
"""Of the storyteller's vocabulary with the tokens that are added here."""


class CallingModel:
    """As much of a `TextModel` as calls need."""

    def __init__(
        self,
        call_format: CallFormat,
        tokenizer: Tokenizer,
        vocabulary: Vocabulary,
        thought: tuple[int | None, int | None] = (None, None),
    ) -> None:
        self.tokenizer = tokenizer
        self._format = call_format
        self._vocabulary = vocabulary
        self._thought = thought

    def call_format(self) -> CallFormat:
        return self._format

    def vocabulary(self) -> Vocabulary:
        return self._vocabulary

    def thought_ids(self) -> tuple[int | None, int | None]:
        return self._thought

    def shown_bytes(self, token_id: int) -> bytes:
        return shown_bytes(self.tokenizer, token_id)

    def ids(self, text: str) -> list[int]:
        """Of what follows a control token as SentencePiece was taught: without a dummy prefix."""
        return self.tokenizer.encode(text, continuation=True)

    def read(self, ids: Sequence[int]) -> str:
        """As an answer is read: with characters for the tokens that matter."""
        marks = {one: mark.character for one, mark in self._format.marks.items()}
        text = IncrementalDetokenizer(self.tokenizer, continuation=True, marks=marks)
        return "".join([*map(text.push, ids), text.finish()])


@cache
def storyteller(*spellings: str) -> tuple[Tokenizer, Vocabulary]:
    """Its pieces, and added tokens from `FIRST_ADDED` on."""
    added = [AddedToken(FIRST_ADDED + n, one, False) for n, one in enumerate(spellings)]
    tokenizer = load_sentencepiece(STORYTELLER, added, SIZE, legacy=False)
    return tokenizer, build_vocabulary(tokenizer, SIZE, {2})


@cache
def mistral(version: str) -> tuple[Tokenizer, Vocabulary, int]:
    """The tokenizer "v3" or "v3-tekken" of Mistral's, and its id that opens calls."""
    if version == "v3":
        file, size = MISTRAL / "mistral_instruct_tokenizer_240323.model.v3", 32_768
        tokenizer = load_sentencepiece(file, (), size, legacy=False)
    else:
        file, size = MISTRAL / "tekken_240911.json", 131_072
        tokenizer, _ = load_tekken(file, read_object(file), size)
    vocabulary = build_vocabulary(tokenizer, size, {2})
    return tokenizer, vocabulary, tokenizer.tokens["[TOOL_CALLS]"].id


def mistral_model(version: str) -> CallingModel:
    """Mistral's own vocabulary and form."""
    tokenizer, vocabulary, opening = mistral(version)
    call_format = MistralList(opening, dummy_prefix=version == "v3")
    return CallingModel(call_format, tokenizer, vocabulary)


def small_model(name: str, *, thinks: bool = False) -> CallingModel:
    """The storyteller's pieces, with the tokens of a form."""
    first = FIRST_ADDED
    formats: dict[str, tuple[CallFormat, Collection[str]]] = {
        "mistral": (MistralList(first, dummy_prefix=True), ["[TOOL_CALLS]"]),
        "mistral v11": (
            MistralArguments(first, first + 1, first + 2),
            ["[TOOL_CALLS]", "[ARGS]", "[CALL_ID]"],
        ),
        "hermes": (Hermes(first, first + 1), ["<tool_call>", "</tool_call>"]),
        "hermes in pieces": (Hermes(None, None), []),
        "llama": (Llama(first), ["<|python_tag|>"]),
        "generic": (Generic(), []),
    }
    call_format, spellings = formats[name]
    thought: tuple[int | None, int | None] = (None, None)
    if thinks:
        thought = (first + len(spellings), first + len(spellings) + 1)
        spellings = [*spellings, "<think>", "</think>"]
    tokenizer, vocabulary = storyteller(*spellings)
    return CallingModel(call_format, tokenizer, vocabulary, thought)
