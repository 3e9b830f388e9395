"""One sequence from prompt to last token: chunked prefill, then decode."""

import itertools
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from cluster import settings
from coordinator.measurement import Measurement, Timings
from coordinator.model import ServedModel
from coordinator.pipeline import Session, StepResult
from transformer.errors import SettingsError
from transformer.sampling import SamplingSettings, candidates_needed, sample

_sequence_ids = itertools.count(1)


class FinishReason(StrEnum):
    """Why a text ended."""

    EOS = "eos"
    STOP = "stop"
    LENGTH = "length"
    CONTEXT = "context"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class GenerationOptions:
    """What a request asks for beside its prompt."""

    sampling: SamplingSettings = field(default_factory=SamplingSettings)
    max_tokens: int = 512
    chunk_size: int = settings.DEFAULT_CHUNK_SIZE
    ignore_eos: bool = False

    def __post_init__(self) -> None:
        if self.max_tokens < 1:
            raise SettingsError(f"max-tokens is {self.max_tokens}; it must be at least 1")
        if not 1 <= self.chunk_size <= settings.MAX_STEP_ROWS:
            raise SettingsError(
                f"chunk-size is {self.chunk_size}; it must be from 1 to {settings.MAX_STEP_ROWS}"
            )


class Generation:
    """Iterate over it to get token ids as they are sampled; then ask it how it went.

    An end-of-sequence id is not among the tokens. Leaving the loop frees the sequence on every
    node; left early, ``finish_reason`` is ``INTERRUPTED`` unless the caller knows better. After an
    exception out of the loop the session can only be ended.
    """

    def __init__(
        self,
        session: Session,
        model: ServedModel,
        prompt_ids: Sequence[int],
        options: GenerationOptions,
        measurement: Measurement | None = None,
    ) -> None:
        model.check_prompt(prompt_ids)
        self.prompt_ids = list(prompt_ids)
        self.ids: list[int] = []
        self.finish_reason = FinishReason.INTERRUPTED
        self.measurement = measurement or Measurement(session.stages)
        self._session = session
        self._model = model
        self.options = options
        self._sequence = next(_sequence_ids)
        self._candidates = candidates_needed(options.sampling)
        self._seen = set(self.prompt_ids)

    @property
    def timings(self) -> Timings:
        """How long it took so far."""
        return self.measurement.timings(len(self.prompt_ids), len(self.ids))

    def __iter__(self) -> Generator[int, None, None]:
        try:
            token = self._choose(self._prefill())
            while self._accept(token):
                yield token
                if self._is_full():
                    return
                token = self._choose(self._decode(token))
        finally:
            self._session.end_sequence(self._sequence)

    def _prefill(self) -> StepResult:
        """Send the chunks back to back, as many as the stages can work on; return the last."""
        self.measurement.begin_prefill()
        ids, size = self.prompt_ids, self.options.chunk_size
        most_in_flight = 2 * len(self._session.stages)
        for start in range(0, len(ids), size):
            if self._session.in_flight == most_in_flight:
                self.measurement.add_step(self._session.next_result(), None)
            chunk = ids[start : start + size]
            is_last = start + size >= len(ids)
            self._submit(start, chunk, logit_rows=1 if is_last else 0)
        while True:
            result = self._session.next_result()
            self.measurement.add_step(result, None)
            if not self._session.in_flight:
                return result

    def _decode(self, token: int) -> StepResult:
        sent = time.perf_counter()
        position = len(self.prompt_ids) + len(self.ids) - 1
        self._submit(position, [token], logit_rows=1)
        result = self._session.next_result()
        self.measurement.add_step(result, time.perf_counter() - sent)
        return result

    def _submit(self, start: int, ids: Sequence[int], logit_rows: int) -> None:
        self._session.submit(
            self._sequence, start, ids, logit_rows=logit_rows, candidates=self._candidates
        )

    def _choose(self, result: StepResult) -> int:
        row = result.rows[-1]
        token = sample(row.candidates, self.options.sampling, row.position + 1, self._seen)
        self.measurement.add_token()
        return token

    def _accept(self, token: int) -> bool:
        """Take a sampled token into the text, unless it ends it."""
        if token in self._model.eos_ids and not self.options.ignore_eos:
            self.finish_reason = FinishReason.EOS
            return False
        self.ids.append(token)
        self._seen.add(token)
        return True

    def _is_full(self) -> bool:
        if len(self.ids) == self.options.max_tokens:
            self.finish_reason = FinishReason.LENGTH
        elif len(self.prompt_ids) + len(self.ids) == self._model.context:
            self.finish_reason = FinishReason.CONTEXT
        else:
            return False
        return True
