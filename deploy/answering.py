"""One question to the pipeline, its answer shown as it comes."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

from cluster.dialing import Dialer
from cluster.errors import ClusterError, SessionYielded
from coordinator.answer import AnswerText
from coordinator.generation import FinishReason, Generation, GenerationOptions
from coordinator.measurement import Measurement
from coordinator.pipeline import Session
from coordinator.scheduler import Scheduler
from deploy.record import PipelineRecord
from deploy.screen import notes, notice


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


class Pipeline:
    """A hold on the pipeline that is kept from question to question, and with it the caches.

    Between questions it makes way for others; the next one then takes hold anew.
    """

    def __init__(self, dialer: Dialer) -> None:
        self._dialer = dialer
        self._epoch = 0
        self._held = contextlib.ExitStack()
        self._scheduler: Scheduler | None = None

    def scheduler(self, record: PipelineRecord) -> Scheduler:
        """What serves requests; raises as ``Session`` does when it cannot take hold."""
        if self._scheduler is None or self._epoch != record.epoch:
            self.let_go()
            with contextlib.ExitStack() as entered:
                session = Session(
                    *(record.addresses, record.epoch, record.model.vocab_size, self._dialer),
                    on_notice=notice,
                )
                entered.enter_context(session)
                scheduler = Scheduler(session, record.model, record.cache_limits)
                self._scheduler = entered.enter_context(scheduler)
                self._held = entered.pop_all()
            self._epoch = record.epoch
        return self._scheduler

    def let_go(self) -> None:
        """Free all that the pipeline holds for us."""
        self._scheduler = None
        # Another coordinator may be taking it at this very moment, which is as well.
        with contextlib.suppress(SessionYielded):
            self._held.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self.let_go()


def answer(
    pipeline: Pipeline,
    record: PipelineRecord,
    prompt_ids: Sequence[int],
    options: GenerationOptions,
    text: AnswerText | None,
    show: Callable[[str], None],
) -> Answered:
    """Generate, showing text as it comes, until it ends or Ctrl-C.

    Without ``text`` (a model that has none) the ids are collected only.
    """
    record.model.check_prompt(prompt_ids)
    try:
        generation = _generate(pipeline, record, prompt_ids, options, text, show)
    except SessionYielded:
        # It was lost before this question; what had been held is computed anew.
        pipeline.let_go()
        generation = _generate(pipeline, record, prompt_ids, options, text, show)
    except ClusterError:
        pipeline.let_go()
        raise
    if text is not None:
        show(text.finish())
    return Answered(generation, text.text if text else None)


def _generate(
    pipeline: Pipeline,
    record: PipelineRecord,
    prompt_ids: Sequence[int],
    options: GenerationOptions,
    text: AnswerText | None,
    show: Callable[[str], None],
) -> Generation:
    measurement = Measurement(record.addresses)
    generation = pipeline.scheduler(record).submit(prompt_ids, options, measurement)
    with contextlib.closing(iter(generation)) as tokens, contextlib.suppress(KeyboardInterrupt):
        for token in tokens:
            if text is not None:
                show(text.push(token))
                if text.stopped:
                    generation.finish_reason = FinishReason.STOP
                    break
    return generation


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
