"""Whether two models mean the same by their token ids, whatever libraries read their tokenizers."""

from dataclasses import dataclass

from pi_cluster.transformer.text.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class TokenDifference:
    """An id by which the second of two models means something else than the first."""

    token_id: int
    first: bytes
    second: bytes | None
    """None where the second has no such token."""


def first_difference(
    first: Tokenizer, first_size: int, second: Tokenizer, second_size: int
) -> TokenDifference | None:
    """The first token of one model that another does not have under the same id; None without any.

    The sizes are of the models' vocabularies. Their heads may be padded, as Qwen2.5's are by its
    models' sizes: ids that stand for no token do not count, nor what the second has beyond.
    """
    for token_id in range(first_size):
        meant = _meaning(first, token_id)
        if meant is None:
            continue
        other = _meaning(second, token_id) if token_id < second_size else None
        if other != meant:
            return TokenDifference(token_id, meant, other)
    return None


def _meaning(tokenizer: Tokenizer, token_id: int) -> bytes | None:
    """The bytes of an id's text; of a token that stands for none, of its spelling; None for no
    token.

    A piece counts by its bytes: files of different kinds spell the same one differently. Flags of
    added tokens do not count: finetunes give others to the same ones.
    """
    if token_id not in tokenizer:
        return None
    is_named = tokenizer.is_control(token_id) or token_id == tokenizer.unk_id
    if is_named or tokenizer.added_text(token_id) is not None:
        return tokenizer.id_to_piece(token_id).encode()
    return tokenizer.piece_bytes(token_id, continuation=True)
