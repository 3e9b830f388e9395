"""The tokens of the tokenizer inside a GGUF, checked: one for each row of the embedding.

Their types are those of llama.cpp (``llama_token_type``), which has them from SentencePiece.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pi_cluster.cluster.errors import CheckpointError
from pi_cluster.shard_tool.gguf.keys import Keys

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
ENDS = ("eos", "eot", "eom")
"""Names of ids at which an answer ends: of the text, of a turn, of a message to a tool."""

_TOKENS, _TYPES = "tokenizer.ggml.tokens", "tokenizer.ggml.token_type"
_NAMED = {
    name: f"tokenizer.ggml.{key}_token_id"
    for name, key in (
        ("bos", "bos"),
        ("eos", "eos"),
        ("eot", "eot"),
        ("eom", "eom"),
        ("unk", "unknown"),
        ("pad", "padding"),
    )
}
_ANOTHER = "Fetch another GGUF of the same model"


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Every token's spelling, all of them different, and its type; ``ids`` has those with a name.

    The names are ``bos``, ``eos``, ``eot``, ``eom``, ``unk`` and ``pad``.
    """

    path: Path
    spellings: Sequence[str]
    types: NDArray[np.int64]
    ids: dict[str, int]

    def of_types(self, *types: int) -> list[int]:
        """The ids of all tokens of these types, in order."""
        found: list[int] = np.flatnonzero(np.isin(self.types, types)).tolist()
        return found


def read_vocabulary(keys: Keys, vocab_size: int) -> Vocabulary:
    """Read and check the vocabulary of a model with ``vocab_size`` rows in its embedding.

    Raises ``CheckpointError`` naming the file, the key and the token.
    """
    spellings = keys.texts(_TOKENS)
    if spellings is None:
        raise CheckpointError(f"{keys.path} has a tokenizer but no {_TOKENS}. {_ANOTHER}")
    if len(spellings) != vocab_size:
        raise CheckpointError(
            f"{_TOKENS} of {keys.path} lists {len(spellings)} tokens, and the model's embedding "
            f"has {vocab_size} rows: one of them is another model's. {_ANOTHER}"
        )
    types = _types(keys, vocab_size)
    ids = {name: i for name, key in _NAMED.items() if (i := _id(keys, key, vocab_size)) is not None}
    for name in ("bos", *ENDS):
        # Files are about where these are called ordinary tokens; llama.cpp overrides it, too.
        if name in ids and types[ids[name]] in (NORMAL, USER_DEFINED):
            types[ids[name]] = CONTROL
    _refuse_odd_spellings(keys.path, spellings)
    return Vocabulary(keys.path, spellings, types, ids)


def _types(keys: Keys, vocab_size: int) -> NDArray[np.int64]:
    types = keys.numbers(_TYPES)
    if types is None:
        return np.full(vocab_size, NORMAL, np.int64)
    if len(types) != vocab_size:
        raise CheckpointError(
            f"{_TYPES} of {keys.path} has {len(types)} entries for {vocab_size} tokens. {_ANOTHER}"
        )
    unknown = types[(types < NORMAL) | (types > BYTE) | (types != np.trunc(types))]
    if len(unknown):
        raise CheckpointError(
            f"{_TYPES} of {keys.path} has the type {unknown[0]}; there are {NORMAL} to {BYTE}. "
            f"{_ANOTHER}"
        )
    return types.astype(np.int64)


def _id(keys: Keys, key: str, vocab_size: int) -> int | None:
    value = keys.whole(key)
    if value is None or value == 0xFFFFFFFF:  # what llama.cpp writes for none
        return None
    if not 0 <= value < vocab_size:
        raise CheckpointError(
            f"{key} of {keys.path} is {value}; the vocabulary has 0 to {vocab_size - 1}. {_ANOTHER}"
        )
    return value


def _refuse_odd_spellings(path: Path, spellings: Sequence[str]) -> None:
    seen: dict[str, int] = {}
    for number, spelling in enumerate(spellings):
        if not spelling or "\0" in spelling:
            raise CheckpointError(
                f"{_TOKENS} of {path} has {spelling!r} for token {number}, which is no text. "
                f"{_ANOTHER}"
            )
        if spelling in seen:
            raise CheckpointError(
                f"{_TOKENS} of {path} has {spelling!r} twice, as {seen[spelling]} and as {number}. "
                f"{_ANOTHER}"
            )
        seen[spelling] = number
