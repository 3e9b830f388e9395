"""A tokenizer from the file that a checkpoint has for it.

Each kind brings a library of its own, which is imported when such a file is there: a prompt to a
model with a ``tokenizer.model`` needs none of the others.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pi_cluster.transformer.checkpoint_file import read_bytes
from pi_cluster.transformer.errors import ModelError
from pi_cluster.transformer.text.added_tokens import AddedToken
from pi_cluster.transformer.text.byte_pair_tokenizer import BytePairTokenizer, Encoder
from pi_cluster.transformer.text.tokenizer import Tokenizer

# Llama 3's own download calls such a file tokenizer.model, too.
_RANKS_OF_TIKTOKEN = re.compile(rb"[A-Za-z0-9+/]+=* \d+\r?\n")


class ForeignTokenizer(ModelError):
    """A file that is whole, and not this model's tokenizer."""


def load_sentencepiece(
    path: Path, added: Iterable[AddedToken], vocab_size: int, *, legacy: bool
) -> Tokenizer:
    """A ``tokenizer.model`` for a model of ``vocab_size`` ids.

    Raises `ModelError` naming the file, `ForeignTokenizer` where it belongs to another model.
    """
    from pi_cluster.transformer.text.sentencepiece_tokenizer import SentencePieceTokenizer

    content = read_bytes(path)
    if _RANKS_OF_TIKTOKEN.match(content):
        raise ForeignTokenizer(
            f"{path}: this is no SentencePiece model, but ranks of tiktoken, which lack the "
            "pattern and the special tokens; fetch the tokenizer.json of the same model"
        )
    usable = [token for token in added if token.id < vocab_size]
    tokenizer = SentencePieceTokenizer(content, str(path), usable, legacy=legacy)
    _check_size(path, tokenizer.vocab_size, vocab_size)
    return tokenizer


def load_tekken(path: Path, values: Mapping[str, Any], vocab_size: int) -> tuple[Tokenizer, str]:
    """A ``tekken.json``, given what it holds, and the version of its chat format."""
    from pi_cluster.transformer.text.tekken_encoder import TekkenEncoder

    encoder = TekkenEncoder(values, str(path))
    _check_size(path, encoder.vocab_size, vocab_size)
    ids = {token.content: token.id for token in encoder.special}
    bos_id = ids.get("<s>")
    return BytePairTokenizer(
        encoder,
        encoder.special,
        bos_id=bos_id,
        eos_id=ids.get("</s>"),
        opening_ids=() if bos_id is None else (bos_id,),
    ), encoder.version


def load_bpe(
    path: Path,
    values: Mapping[str, Any],
    added: Iterable[AddedToken],
    special: Mapping[str, str],
    vocab_size: int,
) -> Tokenizer:
    """A ``tokenizer.json``, given what it holds.

    ``special`` are the spellings of special tokens by their names. Those are added tokens, too,
    where the file does not list them.
    """
    from pi_cluster.transformer.text.bpe_encoder import BpeEncoder
    from pi_cluster.transformer.text.bpe_file import BpeFile

    file = BpeFile(values, str(path))
    every = {token.content: token for token in added}
    for spelling in special.values():
        if spelling not in every and spelling in file.vocabulary:
            every[spelling] = AddedToken(file.vocabulary[spelling], spelling)
    needless = {token.id for token in every.values() if token.id >= vocab_size}
    control = {token.id for token in every.values() if token.is_control}
    encoder = BpeEncoder(file, control | needless)
    pieces = set(file.vocabulary.values()) - needless
    _check_size(path, max(pieces, default=-1) + 1, vocab_size)

    def id_of(name: str) -> int | None:
        spelling = special.get(name, "")
        token = every.get(spelling)
        return token.id if token and token.id < vocab_size else encoder.piece_to_id(spelling)

    bos_id = id_of("bos_token")
    usable = [token for token in every.values() if token.id < vocab_size]
    # As in transformers 5: where the file is there, add_bos_token of the configuration is not read.
    opening = _ids_of(file.opening, usable, encoder, path, "begins")
    closing = _ids_of(file.closing, usable, encoder, path, "ends")
    return BytePairTokenizer(
        *(encoder, usable),
        bos_id=bos_id,
        eos_id=id_of("eos_token"),
        opening_ids=opening,
        closing_ids=closing,
    )


def _ids_of(
    spellings: Iterable[str], added: Iterable[AddedToken], encoder: Encoder, path: Path, does: str
) -> tuple[int, ...]:
    known = {token.content: token.id for token in added}
    ids = []
    for spelling in spellings:
        token_id = known.get(spelling, encoder.piece_to_id(spelling))
        if token_id is None:
            raise ModelError(
                f"{path} {does} texts with {spelling[:40]!r}, which is not in its vocabulary; "
                "fetch it again"
            )
        ids.append(token_id)
    return tuple(ids)


def _check_size(path: Path, pieces: int, vocab_size: int) -> None:
    if pieces > vocab_size:
        raise ForeignTokenizer(
            f"{path} has {pieces} pieces and the model only {vocab_size}: "
            "it belongs to another model; fetch the checkpoint's own"
        )
