"""The tokenizer inside a GGUF, written out as the files that any other checkpoint has.

So nothing behind the shard tool knows that there was a GGUF.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pi_cluster.cluster.errors import CheckpointError
from pi_cluster.shard_tool.gguf.byte_level_tokenizer import (
    byte_level_tokenizer,
    find_pre_tokenizer,
)
from pi_cluster.shard_tool.gguf.keys import Keys
from pi_cluster.shard_tool.gguf.sentencepiece_model import sentencepiece_model, special_ids
from pi_cluster.shard_tool.gguf.vocabulary import (
    CONTROL,
    ENDS,
    USER_DEFINED,
    Vocabulary,
    read_vocabulary,
)
from pi_cluster.transformer.config_faults import as_json
from pi_cluster.transformer.text.text_files import CONFIG, MODEL, TEMPLATE, TOKENIZER_JSON

_KIND, _TEMPLATE = "tokenizer.ggml.model", "tokenizer.chat_template"
_NO_KINDS = (None, "none", "no_vocab")
# Mistral's later SentencePiece models have it, and were trained without a space behind it.
_INSTRUCTION = "[INST]"


def write_text_files(keys: Keys, vocab_size: int, folder: Path) -> dict[str, Any]:
    """Write the tokenizer's files into ``folder``, by their usual names.

    Returns what else a checkpoint says in ``generation_config.json``: ``bos_token_id`` and the list
    ``eos_token_id``, as far as the file names them. A file without a tokenizer gives no files.
    Raises ``CheckpointError`` for a tokenizer that is not sound, or not read here.
    """
    kind = keys.text(_KIND)
    if kind in _NO_KINDS:
        return {}
    if kind not in _WRITERS:
        raise CheckpointError(
            f"{_KIND} of {keys.path} is {as_json(kind)}; only {' and '.join(_WRITERS)} are read. "
            "Choose another model"
        )
    vocabulary = read_vocabulary(keys, vocab_size)
    config = _WRITERS[kind](vocabulary, keys, folder)
    (folder / CONFIG).write_text(json.dumps(_of_tokens(vocabulary) | config), "utf-8")
    if template := keys.text(_TEMPLATE):
        (folder / TEMPLATE).write_text(template, "utf-8")
    ids = vocabulary.ids
    named: dict[str, Any] = {"bos_token_id": ids["bos"]} if "bos" in ids else {}
    if ends := list(dict.fromkeys(ids[name] for name in ENDS if name in ids)):
        named["eos_token_id"] = ends
    return named


def _sentencepiece(vocabulary: Vocabulary, keys: Keys, folder: Path) -> dict[str, Any]:
    (folder / MODEL).write_bytes(sentencepiece_model(vocabulary, keys))
    spellings = vocabulary.spellings
    named = {f"{name}_token": spellings[i] for name, i in special_ids(vocabulary).items()}
    adds_bos = keys.flag("tokenizer.ggml.add_bos_token") is not False
    controls = {spellings[i] for i in vocabulary.of_types(CONTROL)}
    return named | {"add_bos_token": adds_bos, "legacy": _INSTRUCTION not in controls}


def _byte_level(vocabulary: Vocabulary, keys: Keys, folder: Path) -> dict[str, Any]:
    text = json.dumps(byte_level_tokenizer(vocabulary, keys), ensure_ascii=False)
    (folder / TOKENIZER_JSON).write_text(text, "utf-8")
    adds_bos = keys.flag("tokenizer.ggml.add_bos_token")
    if adds_bos is None:
        adds_bos = find_pre_tokenizer(keys).adds_bos
    return {"add_bos_token": adds_bos}


_WRITERS: dict[str, Callable[[Vocabulary, Keys, Path], dict[str, Any]]] = {
    "llama": _sentencepiece,
    "gpt2": _byte_level,
}


def _of_tokens(vocabulary: Vocabulary) -> dict[str, Any]:
    """What tokenizer_config.json says of single tokens."""
    spellings = vocabulary.spellings
    named = {
        f"{name}_token": spellings[i]
        for name, i in vocabulary.ids.items()
        if name in ("bos", "eos", "unk", "pad")
    }
    added = {
        str(i): {
            "content": spellings[i],
            "lstrip": False,
            "normalized": False,
            "rstrip": False,
            "single_word": False,
            "special": bool(vocabulary.types[i] == CONTROL),
        }
        for i in vocabulary.of_types(CONTROL, USER_DEFINED)
    }
    return {"added_tokens_decoder": added, **named}
