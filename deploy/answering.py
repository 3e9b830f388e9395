"""One question to the pipeline, its answer shown as it comes."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

from pi_cluster.cluster.errors import (
    ClusterError,
    NodeLost,
    SessionExpired,
    SessionYielded,
    StaleEpoch,
    StateError,
)
from pi_cluster.cluster.wire.dialing import Dialer
from pi_cluster.coordinator.answer_text import AnswerText
from pi_cluster.coordinator.generation import FinishReason, Generation, GenerationOptions
from pi_cluster.coordinator.measurement import Measurement
from pi_cluster.coordinator.patience import DEFAULT_WAIT_S, Patience
from pi_cluster.coordinator.records.pipeline_record import PipelineRecord, is_changing, load_record
from pi_cluster.coordinator.scheduling.scheduler import Scheduler
from pi_cluster.coordinator.session import Session
from pi_cluster.deploy.screen.output import end_line, notes, notice
from pi_cluster.transformer.errors import ModelError


@dataclass(frozen=True, slots=True)
class Answered:
    """How a generation went, whether it ended or was interrupted."""

    generation: Generation
    text: str | None
    """None for a model without a tokenizer."""

    @property
    def was_interrupted(self) -> bool:
        """Whether Ctrl-C ended it."""
        return self.generation.finish_reason is FinishReason.INTERRUPTED


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, and what takes the answer's tokens."""

    prompt_ids: Sequence[int]
    options: GenerationOptions
    new_text: Callable[[], AnswerText | None]
    """Makes what turns the answer into text; it gives None for a model that has none."""


class Pipeline:
    """A hold on the pipeline that is kept from question to question, and with it the caches.

    Between questions it makes way for others; the next one then takes hold anew.
    """

    def __init__(
        self, dialer: Dialer, cluster: str, digest: str, wait_s: float = DEFAULT_WAIT_S
    ) -> None:
        """``digest`` is that of the store that questions are encoded for.

        ``wait_s`` is how long a question waits while the pipeline answers another.
        """
        self._dialer = dialer
        self._cluster = cluster
        self._digest = digest
        self.wait_s = wait_s
        self._epoch = 0
        self._held = contextlib.ExitStack()
        self._scheduler: Scheduler | None = None

    def submit(self, question: Question) -> Generation:
        """Ask the pipeline that is up now; raises as ``Session`` does when it cannot take hold.

        A session that was lost since the last question is begun anew. ``StateError`` when no
        pipeline is up, or one with another model.
        """
        record = self._load()
        record.model.check_prompt(question.prompt_ids)
        measurement = Measurement(record.addresses)
        scheduler = self._scheduler
        if scheduler is None or scheduler.failure or self._epoch != record.epoch:
            scheduler = self._take_hold(record)
        return scheduler.submit(question.prompt_ids, question.options, measurement)

    def after(self, error: ClusterError, patience: Patience) -> None:
        """Return when the question may be asked again, else raise what a person should know.

        What the pipeline holds for us is freed if its session was lost.
        """
        scheduler, epoch = self._scheduler, self._epoch
        had_begun = scheduler is not None and scheduler.has_served
        if scheduler is not None and scheduler.failure is None:
            raise error  # of this question alone
        self.let_go()
        is_there = had_begun or isinstance(error, SessionExpired)
        if isinstance(error, NodeLost) and not is_there:
            raise error  # asked a moment later, it would not be there either
        if isinstance(error, StaleEpoch):
            patience.until_settled(lambda: is_changing(self._cluster))
            if self._load().epoch == epoch:
                raise StaleEpoch(
                    "the nodes have left the pipeline that this machine remembers (epoch "
                    f"{epoch}); another machine may know a later one"
                )
        patience.after(error)

    def let_go(self) -> None:
        """Free all that the pipeline holds for us."""
        self._scheduler = None
        # Another coordinator may be taking it at this very moment, which is as well.
        with contextlib.suppress(SessionYielded):
            self._held.close()

    def _load(self) -> PipelineRecord:
        record = load_record(self._cluster)
        if record.manifest.digest != self._digest:
            raise StateError("another model is up now: ask anew, in a chat after /bye")
        return record

    def _take_hold(self, record: PipelineRecord) -> Scheduler:
        self.let_go()
        self._epoch = record.epoch
        with contextlib.ExitStack() as entered:
            session = Session(
                *(record.addresses, record.epoch, record.model.vocab_size, self._dialer), notice
            )
            entered.enter_context(session)
            scheduler = Scheduler(session, record.model, record.cache_limits)
            self._scheduler = entered.enter_context(scheduler)
            self._held = entered.pop_all()
        return scheduler

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self.let_go()


def answer(
    pipeline: Pipeline, question: Question, show: Callable[[str], None] | None = None
) -> Answered:
    """Generate, showing text as it comes, until it ends or Ctrl-C.

    As long as nothing has been shown, a question whose session is lost is asked again, and waits
    while the pipeline answers another; see ``Patience``. An answer that breaks off ends its line.
    """
    patience = Patience(pipeline.wait_s, on_notice=notice)
    while True:
        text, shown = question.new_text(), _Shown(show)
        try:
            generation = pipeline.submit(question)
            _generate(generation, text, shown)
        except (ClusterError, ModelError) as error:
            end_line()
            if not isinstance(error, ClusterError) or shown.anything:
                raise
            pipeline.after(error, patience)
            continue
        if text is not None:
            shown(text.finish())
        return Answered(generation, text.text if text else None)


class _Shown:
    """Passes text on, and knows whether there was any."""

    def __init__(self, show: Callable[[str], None] | None) -> None:
        self._show = show
        self.anything = False

    def __call__(self, piece: str) -> None:
        if self._show and piece:
            self.anything = True
            self._show(piece)


def _generate(generation: Generation, text: AnswerText | None, show: Callable[[str], None]) -> None:
    with contextlib.closing(iter(generation)) as tokens, contextlib.suppress(KeyboardInterrupt):
        for token in tokens:
            if text is not None:
                show(text.push(token))
                if text.stopped:
                    generation.finish_reason = FinishReason.STOP
                    break


def print_timings(answered: Answered) -> None:
    """The figures that ``--verbose`` ends with, in the order that Ollama made familiar."""
    times = answered.generation.timings
    total = times.ttft_s + times.decode_s
    rows = [
        ("total duration", f"{total:.3f}s"),
        ("load duration", f"{times.load_s:.3f}s"),
        ("prompt eval count", f"{times.prompt_tokens} token(s)"),
        ("prompt eval duration", f"{times.prefill_s:.3f}s"),
        ("prompt eval rate", f"{times.prefill_tps:.2f} tokens/s"),
        ("eval count", f"{times.generated_tokens} token(s)"),
        ("eval duration", f"{times.decode_s:.3f}s"),
        ("eval rate", f"{times.decode_tps:.2f} tokens/s"),
        ("seed", str(answered.generation.options.sampling.seed)),
    ]
    for name, value in rows:
        notes.print(f"{name + ':':<22}{value}")
