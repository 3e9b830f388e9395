"""Questions to the nodes themselves, by this program's own hold on the pipeline."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, cast

from pi_cluster.cluster.errors import ClusterError, ModelReplaced, ShardDamaged, StateError
from pi_cluster.coordinator.asking.answer import Answer
from pi_cluster.coordinator.asking.parts import Called, Part, Thought
from pi_cluster.coordinator.asking.question import AskKeywords, Prompt, Question
from pi_cluster.coordinator.client import PipelineClient
from pi_cluster.coordinator.keeping.entry import JournalEntry
from pi_cluster.coordinator.keeping.journal import Journal
from pi_cluster.coordinator.keeping.what_was_asked import Asking
from pi_cluster.coordinator.patience import END_OR_WAIT_LONGER
from pi_cluster.coordinator.records.kept_record import load_record
from pi_cluster.deploy.asking.asker import Show
from pi_cluster.deploy.calling import dialer_to_ask
from pi_cluster.deploy.drafting.in_use import DraftsHere
from pi_cluster.deploy.screen.output import end_line, note, notice
from pi_cluster.transformer.errors import ModelError


class NodesAsker:
    """Holds the pipeline that is up while it has questions; see ``Asker``."""

    def __init__(
        self,
        cluster: str,
        wait_s: float,
        heal_timeout_s: float,
        give_up_after_s: float,
        journal_as: str | None = None,
    ) -> None:
        """``wait_s`` is how long to wait while the pipeline answers another.

        A node that is silent for longer than ``give_up_after_s`` is lost, and what is lost is
        mended for up to ``heal_timeout_s``. What is answered is kept for ``--resume`` of the
        command ``journal_as``.
        """
        self._journal_as = journal_as
        self._journal = Journal.of_commands(cluster)
        record = load_record(cluster)
        dialer = dialer_to_ask(cluster, record)
        self._client = PipelineClient(
            *(record, dialer, wait_s, notice, END_OR_WAIT_LONGER),
            heal_timeout_s=heal_timeout_s,
            give_up_after_s=give_up_after_s,
            draft_models=DraftsHere(notice),
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
        entry = self._begun(question, prompt, keywords)
        return self._shown(question, show, entry), question.begins_in_thought

    def resume(self, entry: JournalEntry, show: Show | None = None) -> tuple[Answer, bool]:
        """Go on with an answer that another program has left, and show it from its beginning."""
        question = self._question_of(entry)
        return self._shown(question, show, entry), question.begins_in_thought

    def take_up(self, name: str | None, command: str) -> JournalEntry:
        """An answer for `resume`; raises as ``Journal.resume``, and for another model's."""
        entry = self._journal.resume(name, command)
        if entry.asking.digest != self._client.digest:
            entry.leave()
            raise ModelReplaced(
                f"answer {entry.name} is another model's than the one that is up now: bring that "
                "one up to go on with it, or ask anew"
            )
        self._question_of(entry)  # what is wrong with it is said before anything is shown
        return entry

    def close(self) -> None:
        """Free the pipeline."""
        self._client.close()

    def _begun(
        self, question: Question, prompt: Prompt, keywords: AskKeywords
    ) -> JournalEntry | None:
        if self._journal_as is None:
            return None
        asked = prompt if isinstance(prompt, str) else list(prompt)
        known: dict[str, Any] = {**keywords, "seed": question.options.sampling.seed}
        digest, ids = self._client.digest, list(question.prompt_ids)
        return self._journal.begin(Asking(self._journal_as, digest, asked, known, ids))

    def _question_of(self, entry: JournalEntry) -> Question:
        asking = entry.asking
        if unknown := asking.keywords.keys() - AskKeywords.__annotations__.keys():
            entry.leave()
            raise StateError(
                f"answer {entry.name} was asked for with {', '.join(sorted(unknown))}, which this "
                "version does not know: ask anew"
            )
        question = self._client.question(asking.prompt, **cast("AskKeywords", asking.keywords))
        return replace(question, prompt_ids=asking.prompt_ids)

    def _shown(self, question: Question, show: Show | None, entry: JournalEntry | None) -> Answer:
        """Ask. What is kept of the answer goes when it ends, and stays when the pipeline fails.

        Of what a damaged shard may have had a part in, nothing is gone on with.
        """
        if entry is None:
            return self._streamed(question, show, None)
        try:
            answer = self._streamed(question, show, entry)
        except ClusterError as error:
            if entry.has_grown and not isinstance(error, ShardDamaged):
                entry.leave()
                error.add_note(
                    f"what was answered is kept, as {entry.name}: --resume goes on with it"
                )
            raise
        finally:
            entry.end()
        return answer

    def _streamed(
        self, question: Question, show: Show | None, entry: JournalEntry | None
    ) -> Answer:
        shown, parts = 0, question.new_parts()
        # The last one is computed again: with it the text might be at its end, of which nothing
        # is written down.
        begun = entry.ids[:-1] if entry else []
        on_token = _keeper(entry) if entry else None
        with self._client.pose(question, begun, on_token) as stream:
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


def _keeper(entry: JournalEntry) -> Callable[[int], None]:
    """Keeps what comes; the last of what is kept already comes once more."""
    known = iter(entry.ids[-1:])

    def keep(token: int) -> None:
        if next(known, None) is None:
            entry.keep(token)

    return keep


def _show_all(parts: Iterable[Part], show: Show) -> None:
    for part in parts:
        if not isinstance(part, Called):  # commands give no tools
            show(part.text, isinstance(part, Thought))
