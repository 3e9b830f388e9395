"""One question to the pipeline, its answer shown as it comes."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from coordinator.answer import AnswerText
from coordinator.generation import FinishReason, Generation, GenerationOptions
from coordinator.measurement import Measurement
from coordinator.pipeline import Session
from deploy.record import PipelineRecord
from deploy.screen import notes


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


def answer(
    record: PipelineRecord,
    prompt_ids: Sequence[int],
    options: GenerationOptions,
    text: AnswerText | None,
    show: Callable[[str], None],
) -> Answered:
    """Generate, showing text as it comes, until it ends or Ctrl-C.

    Whatever happens, the sequence is freed on every node before this returns. Without ``text``
    (a model that has none) the ids are collected only.
    """
    record.model.check_prompt(prompt_ids)
    measurement = Measurement(record.addresses)
    with Session(record.addresses, record.epoch, record.model.vocab_size) as session:
        generation = Generation(session, record.model, prompt_ids, options, measurement)
        with contextlib.closing(iter(generation)) as tokens, contextlib.suppress(KeyboardInterrupt):
            for token in tokens:
                if text is not None:
                    show(text.push(token))
                    if text.stopped:
                        generation.finish_reason = FinishReason.STOP
                        break
    if text is not None:
        show(text.finish())
    return Answered(generation, text.text if text else None)


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
