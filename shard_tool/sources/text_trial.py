"""Everything that `prompt` will need of a checkpoint's text files, opened and tried.

A tokenizer that cannot be read ends `shard` before anything is written. A template that fails does
not: ``prompt --raw`` and ``--ids`` work without it, so its fault is a note.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pi_cluster.transformer.errors import PromptError, UnsupportedTokenizer
from pi_cluster.transformer.text.text_files import (
    CONFIG,
    MODEL,
    TEMPLATE,
    TOKENIZER_JSON,
    TOKENIZERS,
    TextFiles,
)
from pi_cluster.transformer.text.tokenizer import Tokenizer

_QUESTION = {"role": "user", "content": "What is a fox?"}
_MAX_NAMED = 3
_LEAST_SHARE = 0.75  # of the model's ids; models pad their vocabularies by far less


@dataclass(frozen=True, slots=True)
class TextTrial:
    """What came of it; ``notes`` are sentences for whoever shards the checkpoint."""

    tokenizer: Tokenizer | None = None
    ends: Mapping[int, str] = field(default_factory=dict)
    """Ids that end an answer, and what says so."""
    notes: tuple[str, ...] = ()


def try_text(files: TextFiles, folder: Path) -> TextTrial:
    """Try the text files of the checkpoint in ``folder``.

    Raises `ModelError`, naming the file, where the tokenizer cannot be used.
    """
    try:
        tokenizer = files.tokenizer
    except UnsupportedTokenizer as error:
        return TextTrial(
            notes=(
                f"{error}. `prompt --ids` works, text does not. If the model that this one was "
                f"made from has a {MODEL}, copy it into {folder} and shard it again",
            )
        )
    if tokenizer is None:
        named = f"{', '.join(TOKENIZERS[:-1])} or {TOKENIZERS[-1]}"
        return TextTrial(
            notes=(
                f"{folder} has no {named}. Without one `prompt --ids` works, text does not. Fetch "
                "it, and shard the checkpoint again",
            )
        )
    ends = {}
    eos = tokenizer.tokens.get(files.special_tokens.get("eos_token", ""))
    if eos is not None:
        ends[eos.id] = f"{CONFIG} calls it the eos_token"
    notes = [
        *([f"{files.passed_over}. {files.tokenizer_file} is read"] if files.passed_over else ()),
        *_of_useless_tokens(files),
        *_of_other_vocabulary(files, tokenizer),
        *_of_a_small_vocabulary(files, tokenizer),
    ]
    tokenizer.encode(_QUESTION["content"])  # an error here is one of the tokenizer
    try:
        if template := files.template:
            template.encode([_QUESTION])
            end = template.end_of_turn()
            ends |= {} if end is None else {end: "the chat template ends a turn with it"}
    except PromptError as error:
        notes.append(
            f"{files.template_name}: {error}. `prompt` and `chat` will not work, "
            f"`prompt --raw` and `--ids` will. Put a sound {TEMPLATE} into {folder} and shard it "
            "again"
        )
    return TextTrial(tokenizer, ends, tuple(notes))


def _of_useless_tokens(files: TextFiles) -> list[str]:
    useless = [repr(token.content) for token in files.added_tokens if token.id >= files.vocab_size]
    if not useless:
        return []
    named = ", ".join(useless[:_MAX_NAMED]) + (", ..." if len(useless) > _MAX_NAMED else "")
    return [f"added tokens beyond the model's {files.vocab_size} ids are left out: {named}"]


def _of_other_vocabulary(files: TextFiles, tokenizer: Tokenizer) -> list[str]:
    """Whether the checkpoint's tokenizer.json knows the pieces by other ids."""
    if files.tokenizer_file != MODEL:
        return []
    for piece, token_id in files.json_vocabulary.items():
        is_text = token_id in tokenizer and not tokenizer.is_control(token_id)
        if token_id not in tokenizer or (is_text and tokenizer.id_to_piece(token_id) != piece):
            return [
                f"{MODEL} and {TOKENIZER_JSON} of the checkpoint differ, at the id {token_id} for "
                f"instance: {MODEL} is taken. If it is another model's, text will make no sense"
            ]
    return []


def _of_a_small_vocabulary(files: TextFiles, tokenizer: Tokenizer) -> list[str]:
    """Whether the model has many more ids than a tokenizer of its own would leave without text."""
    ids = max([tokenizer.vocab_size, *(token.id + 1 for token in tokenizer.tokens.values())])
    if ids >= _LEAST_SHARE * files.vocab_size:
        return []
    return [
        f"{files.tokenizer_file} has {ids} ids and the model {files.vocab_size}. If it is another "
        "model's, text will make no sense"
    ]
