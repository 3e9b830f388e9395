"""The text that a model is calibrated on: read with bounds, and cut into passages of ids."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pi_cluster.cluster.errors import CheckpointError
from pi_cluster.cluster.small_file import read_small
from pi_cluster.shard_tool.sources.checkpoint import Checkpoint
from pi_cluster.transformer.errors import PromptError
from pi_cluster.transformer.text.given_bytes import decoded
from pi_cluster.transformer.text.text_files import TextFiles
from pi_cluster.transformer.text.tokenizer import Tokenizer

MOST_BYTES = 64 << 20
PASSAGE_TOKENS = 512
"""As of llama-imatrix. Attention within a passage takes as long again where it is much longer."""
_USUAL_CHARACTERS = 8  # more than most tokens have


@dataclass(frozen=True, slots=True)
class CalibrationText:
    """A file's text, and the SHA-256 of the file."""

    path: Path
    text: str
    sha256: str

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read all of it, in UTF-8. Raises ``PromptError`` where it is no text."""
        try:
            data = read_small(path, MOST_BYTES)
        except OSError as error:
            raise PromptError(f"cannot read {path}: {error.strerror}") from error
        except ValueError as error:
            raise PromptError(f"{path} is too long, {error}: give a part of it") from error
        text = decoded(data, path)
        return cls(path, text, hashlib.sha256(data).hexdigest())

    def passages(self, checkpoint: Checkpoint, tokens: int) -> list[list[int]]:
        """The beginning of the text as the model reads it: passages of together ``tokens`` ids.

        Each begins as every text does, with ``<s>`` for instance, and is a text by itself. Raises
        ``CheckpointError`` for a checkpoint without a tokenizer, ``PromptError`` for a text that
        its tokenizer cannot write.
        """
        files = TextFiles(
            checkpoint.tokenizer_files, checkpoint.config.vocab_size, checkpoint.tokenizer_name
        )
        tokenizer = files.tokenizer
        if tokenizer is None:
            raise CheckpointError(
                f"{checkpoint.path} has no tokenizer that is read, so that --calibrate cannot read "
                "its text: add the tokenizer's file, or use --imatrix"
            )
        opening = tokenizer.opening_ids
        if opening is None:
            opening = () if checkpoint.bos_id is None else (checkpoint.bos_id,)
        step = PASSAGE_TOKENS - len(opening)
        ids = self._first_ids(tokenizer, tokens)
        cut = [[*opening, *ids[start : start + step]] for start in range(0, len(ids), step)]
        return _first(cut, tokens)

    def _first_ids(self, tokenizer: Tokenizer, count: int) -> Sequence[int]:
        """At least so many, without all of a long text being read for them."""
        characters = count * _USUAL_CHARACTERS
        while True:
            ids = tokenizer.encode(self.text[:characters])
            if len(ids) >= count or characters >= len(self.text):
                return ids
            characters *= 2


def _first(passages: Sequence[list[int]], tokens: int) -> list[list[int]]:
    """As many as have so many ids together, the last one cut short."""
    kept = []
    for passage in passages:
        kept.append(passage[:tokens])
        tokens -= len(passage)
        if tokens <= 0:
            break
    return kept
