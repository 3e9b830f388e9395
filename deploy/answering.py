"""One question to the pipeline, its answer shown as it comes."""

from collections.abc import Callable

from pi_cluster.cluster.errors import ClusterError
from pi_cluster.coordinator.asking.answer import Answer
from pi_cluster.coordinator.asking.parts import Called, Part, Thought
from pi_cluster.coordinator.asking.question import Question
from pi_cluster.coordinator.client import PipelineClient
from pi_cluster.coordinator.patience import END_OR_WAIT_LONGER
from pi_cluster.coordinator.records.pipeline_record import PipelineRecord
from pi_cluster.deploy.calling import dialer_to_ask
from pi_cluster.deploy.screen.output import end_line, notes, notice
from pi_cluster.transformer.errors import ModelError


def client_to_ask(cluster: str, record: PipelineRecord, wait_s: float) -> PipelineClient:
    """A client of the pipeline that is up, which shows what goes on meanwhile."""
    dialer = dialer_to_ask(cluster, record)
    return PipelineClient(record, dialer, wait_s, notice, END_OR_WAIT_LONGER)


def answer(
    client: PipelineClient, question: Question, show: Callable[[str, bool], None] | None = None
) -> Answer:
    """Ask, showing text as it comes, until it ends or Ctrl-C.

    ``show`` is told of each part whether the model thinks it or says it.
    An answer that breaks off ends its line. Ctrl-C while the question waits its turn is raised.
    """
    shown, parts = 0, question.new_parts()
    with client.pose(question) as stream:
        try:
            for piece in stream:
                shown += len(piece)
                if show:
                    for part in parts.push(piece):
                        _show(part, show)
        except KeyboardInterrupt:
            if not stream.is_asked:
                raise
        except (ClusterError, ModelError):
            end_line()
            raise
    if show:
        for part in (*parts.push((stream.answer.text or "")[shown:]), *parts.finish()):
            _show(part, show)
    return stream.answer


def _show(part: Part, show: Callable[[str, bool], None]) -> None:
    if not isinstance(part, Called):  # commands give no tools
        show(part.text, isinstance(part, Thought))


def print_timings(answered: Answer) -> None:
    """The figures that ``--verbose`` ends with, in the order that Ollama made familiar."""
    times = answered.timings
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
        ("seed", str(answered.seed)),
    ]
    for name, value in rows:
        notes.print(f"{name + ':':<22}{value}")
