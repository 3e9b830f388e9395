"""A tokenizer.json for the byte-level tokenizer in a GGUF (its ``gpt2``), as `tokenizers` reads it.

The file has tokens and merges; the rule that cuts text is known by its name alone
(``pre_tokenizers.py``).
"""

from collections.abc import Iterator
from typing import Any

from pi_cluster.cluster.errors import CheckpointError
from pi_cluster.shard_tool.gguf.keys import Keys
from pi_cluster.shard_tool.gguf.pre_tokenizers import PRE_TOKENIZERS, PreTokenizer
from pi_cluster.shard_tool.gguf.vocabulary import CONTROL, UNUSED, USER_DEFINED, Vocabulary
from pi_cluster.transformer.config_faults import as_json

_PRE, _MERGES = "tokenizer.ggml.pre", "tokenizer.ggml.merges"


def find_pre_tokenizer(keys: Keys) -> PreTokenizer:
    """The rule that the file names. Raises ``CheckpointError`` for one that is not known here."""
    name = keys.text(_PRE)
    if name is None or name == "default":
        raise CheckpointError(
            f"{keys.path} does not say how its tokenizer cuts text ({_PRE} is {as_json(name)}): "
            "fetch a newer GGUF of the same model, or its checkpoint as safetensors"
        )
    if name not in PRE_TOKENIZERS:
        raise CheckpointError(
            f"{_PRE} of {keys.path} is {as_json(name)}, and that way to cut text is not known; "
            f"known are {', '.join(PRE_TOKENIZERS)}. Fetch the model's checkpoint as safetensors"
        )
    return PRE_TOKENIZERS[name]


def byte_level_tokenizer(vocabulary: Vocabulary, keys: Keys) -> dict[str, Any]:
    """What a tokenizer.json holds. Raises ``CheckpointError`` where the file describes none."""
    rule = find_pre_tokenizer(keys)
    unused = set(vocabulary.of_types(UNUSED))  # fill the embedding up to a round number
    ids = {token: i for i, token in enumerate(vocabulary.spellings) if i not in unused}
    added = vocabulary.of_types(CONTROL, USER_DEFINED)
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": token_id,
                "content": vocabulary.spellings[token_id],
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": bool(vocabulary.types[token_id] == CONTROL),
            }
            for token_id in added
        ],
        "normalizer": {"type": "NFC"} if rule.composes else None,
        "pre_tokenizer": rule.steps(),
        "post_processor": None,
        "decoder": {
            "type": "ByteLevel",
            "add_prefix_space": True,
            "trim_offsets": True,
            "use_regex": True,
        },
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": rule.ignores_merges,
            "vocab": ids,
            "merges": list(_merges(vocabulary, keys, ids)),
        },
    }


def _merges(vocabulary: Vocabulary, keys: Keys, ids: dict[str, int]) -> Iterator[list[str]]:
    merges = keys.texts(_MERGES)
    if not merges:
        raise CheckpointError(
            f"{vocabulary.path} has no {_MERGES}, without which text cannot be encoded. Fetch "
            "another GGUF of the same model"
        )
    for number, merge in enumerate(merges):
        # Behind the first character, which may itself be a space in files of old converters.
        at = merge.find(" ", 1)
        pair = [merge[:at], merge[at + 1 :]]
        if at < 0 or not all(part in ids for part in (*pair, "".join(pair))):
            raise CheckpointError(
                f"merge {number} of {vocabulary.path}, {merge!r}, is not of two tokens that make a "
                "third. Fetch another GGUF of the same model"
            )
        yield pair
