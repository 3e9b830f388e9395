"""Questions to the nodes themselves, by this program's own hold on the pipeline."""

from collections.abc import Iterable

from pi_cluster.cluster.errors import ClusterError
from pi_cluster.coordinator.asking.answer import Answer
from pi_cluster.coordinator.asking.parts import Called, Part, Thought
from pi_cluster.coordinator.asking.question import AskKeywords, Prompt, Question
from pi_cluster.coordinator.client import PipelineClient
from pi_cluster.coordinator.patience import END_OR_WAIT_LONGER
from pi_cluster.coordinator.records.pipeline_record import load_record
from pi_cluster.deploy.asking.asker import Show
from pi_cluster.deploy.calling import dialer_to_ask
from pi_cluster.deploy.screen.output import end_line, note, notice
from pi_cluster.transformer.errors import ModelError


class NodesAsker:
    """Holds the pipeline that is up while it has questions; see ``Asker``."""

    def __init__(
        self, cluster: str, wait_s: float, heal_timeout_s: float, give_up_after_s: float
    ) -> None:
        """``wait_s`` is how long to wait while the pipeline answers another.

        A node that is silent for longer than ``give_up_after_s`` is lost, and what is lost is
        mended for up to ``heal_timeout_s``.
        """
        record = load_record(cluster)
        dialer = dialer_to_ask(cluster, record)
        self._client = PipelineClient(
            *(record, dialer, wait_s, notice, END_OR_WAIT_LONGER),
            heal_timeout_s=heal_timeout_s,
            give_up_after_s=give_up_after_s,
        )

    def check(self, prompt: Prompt, keywords: AskKeywords) -> None:
        """Encode it."""
        self._client.question(prompt, **keywords)

    def answer(
        self, prompt: Prompt, keywords: AskKeywords, show: Show | None = None
    ) -> tuple[Answer, bool]:
        """Ask the pipeline."""
        model = self._client.model
        if model.fault and all(isinstance(one, int) for one in prompt):
            note(f"{model.fault}; the answer comes as ids")
        question = self._client.question(prompt, **keywords)
        return self._shown(question, show), question.begins_in_thought

    def close(self) -> None:
        """Free the pipeline."""
        self._client.close()

    def _shown(self, question: Question, show: Show | None) -> Answer:
        shown, parts = 0, question.new_parts()
        with self._client.pose(question) as stream:
            try:
                for piece in stream:
                    shown += len(piece)
                    if show:
                        _show_all(parts.push(piece), show)
            except KeyboardInterrupt:
                if not stream.is_asked:
                    raise
            except (ClusterError, ModelError):
                end_line()
                raise
        if show:
            _show_all(parts.push((stream.answer.text or "")[shown:]), show)
            _show_all(parts.finish(), show)
        return stream.answer


def _show_all(parts: Iterable[Part], show: Show) -> None:
    for part in parts:
        if not isinstance(part, Called):  # commands give no tools
            show(part.text, isinstance(part, Thought))
