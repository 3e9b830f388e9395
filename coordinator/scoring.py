"""How likely a model finds a text that is given: each of its last ids, by the row before it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pi_cluster.cluster import settings
from pi_cluster.cluster.errors import NodeError
from pi_cluster.coordinator.steps import Floats, RowLogits, StepChunk
from pi_cluster.transformer.allowed import bytes_needed, only
from pi_cluster.transformer.errors import ModelError, SettingsError

_MOST_STEP_BYTES = 8 << 20  # of what rows bring along or send back, beside the hidden states
_ROUNDING = 1e-6  # nats by which a float32 logit may seem likelier than certain

OnLogits = Callable[[int, Floats], None]
"""Given the number of the first of some scored ids, and all logits of the row before each.

Shape: ``(rows, vocab_size)``. Called on the scheduler's thread, row after row; where a session was
lost, from the first row on again.
"""


@dataclass(frozen=True, slots=True)
class Scoring:
    """Which ids are scored: one behind each of the last rows of a prompt, the last behind its end.

    A row is sent with its id as the only one that may follow, and what comes back is that one's
    logit and the sum over all. Only ``on_logits`` has all logits of a row come back.
    """

    ids: Sequence[int]
    vocab_size: int
    on_logits: OnLogits | None = None

    def __post_init__(self) -> None:
        if not self.ids:
            raise SettingsError(
                "there is nothing to score: give at least one token behind the first"
            )
        for token_id in self.ids:
            if not 0 <= token_id < self.vocab_size:
                raise SettingsError(
                    f"token id {token_id} is outside the vocabulary 0..{self.vocab_size - 1}"
                )

    @property
    def chunk_size(self) -> int:
        """Rows of a step, so that what they bring along or send back stays within bounds."""
        row_bytes = 4 * self.vocab_size if self.on_logits else bytes_needed(self.vocab_size)
        return max(1, min(settings.MAX_STEP_ROWS, _MOST_STEP_BYTES // row_bytes))

    def asked_of(self, chunk: StepChunk, prompt_tokens: int) -> StepChunk:
        """The chunk of a prompt of that length, with what is wanted of its rows."""
        first = prompt_tokens - len(self.ids)  # the row that is scored first
        stop = chunk.start + len(chunk.ids)
        wanted = self.ids[max(0, chunk.start - first) : max(0, stop - first)]
        chunk = replace(chunk, logit_rows=len(wanted), candidates=0, log_sum=True)
        if self.on_logits:
            return chunk
        return replace(chunk, candidates=1, allowed=[only(i, self.vocab_size) for i in wanted])


class Scored:
    """Takes the rows of one text, in the order of their positions."""

    def __init__(self, scoring: Scoring) -> None:
        self._scoring = scoring
        self.logprobs: list[float] = []
        """Natural logarithms of the probabilities of the first ids, as far as they are known."""

    def add(self, rows: Sequence[RowLogits], node: str) -> None:
        """The next rows, as ``node`` answered them.

        Raises ``NodeError`` for an answer to another question, ``ModelError`` for no numbers.
        """
        first = len(self.logprobs)
        ids = self._scoring.ids[first : first + len(rows)]
        for row, token_id in zip(rows, ids, strict=True):
            self.logprobs.append(self._logprob(row, token_id, node))
        if self._scoring.on_logits and rows:
            self._scoring.on_logits(first, np.stack([row.logits for row in rows]))

    def _logprob(self, row: RowLogits, token_id: int, node: str) -> float:
        if self._scoring.on_logits:
            if row.ids is not None or len(row.logits) != self._scoring.vocab_size:
                raise NodeError(
                    f"{node} answered with {len(row.logits)} of {self._scoring.vocab_size} logits"
                )
            logit = float(row.logits[token_id])
        else:
            if row.ids is None or row.ids.tolist() != [token_id]:
                raise NodeError(f"{node} answered for another id than the one that was to follow")
            logit = float(row.logits[0])
        if not (np.isfinite(row.logits).all() and np.isfinite(row.log_sum)):
            raise ModelError(
                f"the model produced NaN or infinite logits at position {row.position}: its "
                "weights are damaged; check the store's files"
            )
        if logit - row.log_sum > _ROUNDING:
            raise NodeError(f"{node} answered with a probability above 1")
        return logit - row.log_sum
