"""Texts that keep to a constraint, as one stage makes them, and a small vocabulary."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from pi_cluster.coordinator.constraint import Constraint
from pi_cluster.coordinator.generation import Generation, GenerationOptions
from pi_cluster.transformer.sampling import sample, top_candidates
from pi_cluster.transformer.sampling_settings import SamplingSettings
from pi_cluster.transformer.stage import Chunk
from pi_cluster.transformer.text.added_tokens import AddedToken
from tests.support.serving import Line, prompt_of
from tests.support.stages import run_step


class Ascii:
    """Each id is the character of that number; the last ids stand for no text.

    Where the id of a character is an ``opening``, an added token, the id 128 is the character.
    """

    unk_id = None

    def __init__(self, opening: int | None = None) -> None:
        self._opening = opening
        self.tokens = {} if opening is None else {"[TOOL_CALLS]": AddedToken(opening, "[CALLS]")}

    def __contains__(self, token_id: int) -> bool:
        return 0 < token_id < 128 + (self._opening is not None)

    def is_control(self, token_id: int) -> bool:
        return False

    def added_text(self, token_id: int) -> str | None:
        return "" if token_id == self._opening else None

    def piece_bytes(self, token_id: int, *, continuation: bool) -> bytes:
        return bytes([self._opening or 0 if token_id == 128 else token_id])

    def encode(self, text: str, *, continuation: bool = False) -> list[int]:
        spelt = text.encode("ascii", "replace")
        return [128 if byte == self._opening else byte for byte in spelt]


def masked_row_by_row(
    line: Line,
    prompt: Sequence[int],
    sampling: SamplingSettings,
    constraint: Constraint,
    count: int,
) -> list[int]:
    """Up to ``count`` ids, one row a step, and all logits of what is not allowed taken out."""
    text = list(prompt)
    for position in range(len(prompt) + count - 1):
        row = np.array([text[position]])
        _, rows = run_step([line.whole], [Chunk(1, position, 1)], row)
        if position < len(prompt) - 1:
            continue
        if constraint.is_finished:
            break
        token = sample(
            *(top_candidates(_masked(rows[0], constraint), 0), sampling, position + 1),
            *(set(text), {}),
        )
        if token in line.model.eos_ids:
            break
        constraint.accept(token)
        text.append(token)
    return text[len(prompt) :]


def in_every_way(
    line: Line,
    prompt: Sequence[int],
    sampling: SamplingSettings,
    new: Callable[[], Constraint],
    count: int,
) -> Iterator[tuple[list[int], Generation]]:
    """Up to ``count`` ids, with and without guesses, in chunks, and beside another text."""
    free = SamplingSettings(temperature=1.5, seed=3)
    with line.served() as scheduler:
        for draft, chunk_size in ((True, None), (False, None), (True, 1), (False, 7)):
            options = GenerationOptions(sampling, count, chunk_size, draft=draft)
            mate = scheduler.submit(prompt_of(8, 20), GenerationOptions(free, 30))
            generation = scheduler.submit(prompt, options, constraint=new())
            ids = list(generation)
            list(mate)
            yield ids, generation


def _masked(logits: np.ndarray, constraint: Constraint) -> np.ndarray:
    mask = constraint.mask()
    if mask is None:
        return logits
    bits = np.unpackbits(np.frombuffer(mask, np.uint8), bitorder="little")[: len(logits)]
    return np.where(bits.astype(bool), logits, np.float32(-np.inf))
