"""What a user asked for, and the answer as it comes."""

import queue
import threading
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field

from pi_cluster.cluster import settings
from pi_cluster.coordinator.constraint import Constraint
from pi_cluster.coordinator.finish_reason import FinishReason
from pi_cluster.coordinator.listeners import Listeners
from pi_cluster.coordinator.logprobs import MAX_ALTERNATIVES, TokenLogprobs
from pi_cluster.coordinator.measurement import Measurement
from pi_cluster.coordinator.pooling import Pooled, Pooling
from pi_cluster.coordinator.scoring import Scored, Scoring
from pi_cluster.coordinator.standing import Held, Reading, Waiting
from pi_cluster.coordinator.timings import Timings
from pi_cluster.transformer.errors import SettingsError
from pi_cluster.transformer.sampling import candidates_needed
from pi_cluster.transformer.sampling_settings import SamplingSettings


@dataclass(frozen=True, slots=True)
class GenerationOptions:
    """What a request asks for beside its prompt."""

    sampling: SamplingSettings = field(default_factory=SamplingSettings)
    max_tokens: int = 512
    chunk_size: int | None = None
    """Prompt tokens in one step; None takes what suits the pipeline."""
    ignore_eos: bool = False
    draft: bool = True
    """Whether to guess ahead, which changes the speed and never the text."""
    logprobs: int | None = None
    """With so many alternatives, each id's log-probability; None does without."""
    asker: str = ""
    """Who asks: askers take turns where requests have to wait."""
    one_off: bool = False
    """Whether nobody will go on with the text, so that its caches need not be kept."""
    pooling: Pooling | None = None
    """Give the prompt's vector instead of an answer."""
    scoring: Scoring | None = None
    """Tell how likely ids of the prompt are instead of an answer."""

    def __post_init__(self) -> None:
        if self.max_tokens < 1:
            raise SettingsError(f"max-tokens is {self.max_tokens}; it must be at least 1")
        if self.chunk_size is not None and not 1 <= self.chunk_size <= settings.MAX_STEP_ROWS:
            raise SettingsError(
                f"chunk-size is {self.chunk_size}; it must be from 1 to {settings.MAX_STEP_ROWS}"
            )
        if self.logprobs is not None and self.logprobs not in range(MAX_ALTERNATIVES + 1):
            raise SettingsError(
                f"logprobs is {self.logprobs!r}; it must be from 0 to {MAX_ALTERNATIVES}"
            )

    @property
    def most_step_rows(self) -> int | None:
        """Tokens of the prompt that one step may take; None for as many as suit the pipeline."""
        bounds = (self.chunk_size, self.scoring.chunk_size if self.scoring else None)
        return min((bound for bound in bounds if bound is not None), default=None)

    @property
    def only_reads(self) -> bool:
        """Whether the prompt is read and no answer wanted."""
        return self.pooling is not None or self.scoring is not None

    @property
    def reads_every_row(self) -> bool:
        """Whether also what is held already of the prompt must be computed, for its rows."""
        return self.pooling is Pooling.MEAN or self.scoring is not None

    @property
    def candidates(self) -> int:
        """How many of the best logits of a row are needed; 0 means all."""
        needed = candidates_needed(self.sampling)
        return max(needed, self.logprobs or 0) if needed else 0


News = int | FinishReason | Exception
"""What is told of a generation: the next id, its end, or what made it impossible."""


class Generation:
    """An answer: iterate over it, once, to get token ids as they are sampled.

    An end-of-sequence id is not among them. Leaving the loop early ends the generation at once, and
    ``finish_reason`` is then ``INTERRUPTED`` unless the caller knows better. A failure of the
    pipeline is raised by the iteration.

    Whoever cannot spare a thread for the loop listens instead, and takes the news when it suits.
    """

    def __init__(
        self,
        prompt_ids: Sequence[int],
        options: GenerationOptions,
        measurement: Measurement,
        on_cancel: "Callable[[Generation], None]",
        constraint: Constraint | None = None,
        waiting: "Callable[[Generation], Waiting | Held | None]" = lambda _: None,
        answered: int = 0,
    ) -> None:
        """``waiting`` tells how long it still has to wait; None when it has not."""
        self.prompt_ids = list(prompt_ids)
        self.options = options
        self.answered = answered
        """How many of the prompt's last ids were generated, by a session that was lost."""
        self.measurement = measurement
        self.constraint = constraint
        """For the scheduler alone."""
        self.ids: list[int] = []
        """What has been taken so far: by the iteration, or with `take`."""
        self.logprobs: list[TokenLogprobs] = []
        """Of all ids that were sampled so far, also of those that were not taken yet."""
        self.pooled = Pooled(options.pooling) if options.pooling else None
        self.scored = Scored(options.scoring) if options.scoring else None
        """These two are for the scheduler, until it has ended."""
        self.finish_reason = FinishReason.INTERRUPTED
        self._lock = threading.Lock()  # between what was told and who is told it
        self._told: list[News] = []
        self._listeners = Listeners[News]()
        self._on_cancel = on_cancel
        self._waiting = waiting
        self._read: Callable[[], int] | None = None

    def standing(self) -> Waiting | Held | Reading | None:
        """What it waits for, as any thread may ask; None once its text grows, or has ended."""
        if self._told:
            return None
        if waiting := self._waiting(self):
            return waiting
        return Reading(self._read(), len(self.prompt_ids)) if self._read else None

    def begin(self, read: Callable[[], int]) -> None:
        """For the scheduler: it waits no more, and ``read`` tells how much of it is read."""
        self._read = read

    @property
    def timings(self) -> Timings:
        """How long it took so far."""
        return self.measurement.timings(len(self.prompt_ids), len(self.ids))

    def __iter__(self) -> Generator[int, None, None]:
        news: queue.SimpleQueue[News] = queue.SimpleQueue()
        self.listen(news.put)
        try:
            while (token := self.take(news.get())) is not None:
                yield token
        finally:
            self.cancel()

    def listen(self, listener: Callable[[News], object]) -> None:
        """Have all news told to ``listener``, those from before at once.

        It is called on the scheduler's thread, which serves all requests, and follows the rules of
        :class:`Listeners`; `cancel` is the one thing that it may ask of this generation.
        """
        with self._lock:
            for news in self._told:
                listener(news)
            if not self._has_ended:
                self._listeners.add(listener)

    def take(self, news: News) -> int | None:
        """Count an id as given, and return it; None at the end. Raises what made it impossible."""
        match news:
            case FinishReason():
                self.finish_reason = news
                return None
            case Exception():
                # All texts of a session are told the same: each would stay in its traceback.
                raise news.with_traceback(None)
            case token:
                self.ids.append(token)
                return token

    def cancel(self) -> None:
        """End it at once, from any thread; harmless when it has ended."""
        self._on_cancel(self)

    def tell(self, news: News) -> None:
        """For the scheduler: the next id, the end, or what made it impossible."""
        with self._lock:
            self._told.append(news)
            self._listeners.tell(news)
            if self._has_ended:
                # Who listens holds this: in a circle both would stay until a collector comes by.
                self._listeners = Listeners()

    @property
    def _has_ended(self) -> bool:
        return bool(self._told) and not isinstance(self._told[-1], int)
