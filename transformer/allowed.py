"""Sets of ids as bits: which of a vocabulary may come next.

Id ``i`` is bit ``i % 8`` of byte ``i // 8``; a set has as many bytes as the vocabulary needs.
"""

import numpy as np

from pi_cluster.transformer.errors import StepError
from pi_cluster.transformer.sampling import Candidates, Ids, Logits, top_candidates


def bytes_needed(vocab_size: int) -> int:
    """Bytes of a set."""
    return (vocab_size + 7) // 8


def holds(allowed: bytes, token: int) -> bool:
    """Whether an id is in a set."""
    return token // 8 < len(allowed) and bool(allowed[token // 8] >> token % 8 & 1)


def only(token: int, vocab_size: int) -> bytes:
    """The set of one id."""
    bits = bytearray(bytes_needed(vocab_size))
    bits[token // 8] = 1 << token % 8
    return bytes(bits)


def fitted(bits: bytes, vocab_size: int) -> bytes:
    """A set of any length as one of the vocabulary: what it does not reach is not in it."""
    size = bytes_needed(vocab_size)
    return bits if len(bits) == size else bits[:size].ljust(size, b"\0")


def is_empty(allowed: bytes, vocab_size: int) -> bool:
    """Whether no id of the vocabulary is in a set."""
    number = int.from_bytes(allowed, "little")
    return not number & ((1 << vocab_size) - 1)


def ids_in(allowed: bytes, vocab_size: int) -> Ids:
    """The ids of a set, rising. Raises ``StepError`` where it has none, or is of another length."""
    if len(allowed) != bytes_needed(vocab_size):
        raise StepError(
            f"{len(allowed)} bytes say which ids may follow; a vocabulary of {vocab_size} "
            f"takes {bytes_needed(vocab_size)}"
        )
    bits = np.unpackbits(np.frombuffer(allowed, np.uint8), count=vocab_size, bitorder="little")
    ids = np.flatnonzero(bits).astype(np.int32)
    if not ids.size:
        raise StepError("no id may follow a row whose logits were asked for")
    return ids


def top_allowed(logits: Logits, count: int, allowed: bytes) -> Candidates:
    """The ``count`` best of the allowed ids, or all of these where ``count`` is 0.

    Shapes: ``logits (vocab_size,)``. The order is that of `top_candidates`.
    """
    ids = ids_in(allowed, logits.size)
    best = top_candidates(logits[ids], count)
    return Candidates(ids[best.ids], best.logits)
