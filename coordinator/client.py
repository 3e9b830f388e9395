"""The pipeline that is up, for programs: connect, ask, stream, look how it is."""

import collections
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self, Unpack

from pi_cluster.cluster import settings
from pi_cluster.cluster.wire.dialing import Dialer
from pi_cluster.coordinator.asking.answer import Answer
from pi_cluster.coordinator.asking.asked import Asked
from pi_cluster.coordinator.asking.embedding import (
    AT_ONCE,
    Embedded,
    embedded,
    vector_keywords,
)
from pi_cluster.coordinator.asking.encoding import make_question
from pi_cluster.coordinator.asking.hold import DraftModels, Hold, no_draft_models
from pi_cluster.coordinator.asking.likelihood import score_keywords, scores_of
from pi_cluster.coordinator.asking.question import (
    AskKeywords,
    GenerationKeywords,
    Prompt,
    Question,
    generation_options,
)
from pi_cluster.coordinator.asking.stream import AnswerStream
from pi_cluster.coordinator.calling.tools import Tool
from pi_cluster.coordinator.listeners import Listeners
from pi_cluster.coordinator.patience import DEFAULT_WAIT_S, Patience
from pi_cluster.coordinator.pipeline.asker import dialer_to_ask
from pi_cluster.coordinator.pipeline.status import PipelineStatus
from pi_cluster.coordinator.pipeline.watching import PipelineWatch
from pi_cluster.coordinator.pooling import Pooling
from pi_cluster.coordinator.records.access import insecure_warning, still_insecure
from pi_cluster.coordinator.records.kept_record import load_record
from pi_cluster.coordinator.records.pipeline_record import PipelineRecord
from pi_cluster.coordinator.room import Room
from pi_cluster.coordinator.scheduling.counters import Counters
from pi_cluster.coordinator.scheduling.occupancy import Occupancy
from pi_cluster.coordinator.scheduling.scheduler import SchedulerSettings
from pi_cluster.coordinator.scoring import Scoring
from pi_cluster.coordinator.wait_limits import WaitLimits
from pi_cluster.transformer.errors import SettingsError

if TYPE_CHECKING:
    from pi_cluster.coordinator.healing.taking_in import TakingIn

log = logging.getLogger(__name__)


class PipelineClient:
    """Asks one cluster's pipeline, from any number of threads, until it is closed.

    All questions share one hold on the pipeline: several at once are served together, and one that
    begins like another is not computed again. The first question takes hold; while there are none
    the pipeline is free for others, and the next question takes it back.
    """

    def __init__(
        self,
        record: PipelineRecord,
        dialer: Dialer,
        wait_s: float = DEFAULT_WAIT_S,
        on_notice: Callable[[str], None] | None = None,
        or_else: str = ", or connect with a longer wait_s",
        *,
        scheduling: SchedulerSettings | None = None,
        is_lasting: bool = False,
        heal_timeout_s: float = settings.HEAL_TIMEOUT_S,
        give_up_after_s: float = settings.GIVE_UP_AFTER_S,
        draft_models: DraftModels = no_draft_models,
    ) -> None:
        """``record`` is that of the pipeline, whose nodes ``dialer`` calls; see `connect`.

        ``or_else`` ends the sentence that says what to do when ``wait_s`` was not enough. A client
        that ``is_lasting`` waits for nodes that are not there also before there is an answer. A
        node that is silent for longer than ``give_up_after_s`` is given up, and a lost pipeline
        mended for up to ``heal_timeout_s``, with 0 not at all. ``draft_models`` open what guesses
        beside the usual drafters.
        """
        self._notices = Listeners[str]()
        self._notices.add(on_notice or log.info)
        self._hold = Hold(
            *(record, dialer, self._notices.tell, scheduling, heal_timeout_s),
            *(WaitLimits(give_up_after_s), draft_models),
        )
        self.record = record
        """The pipeline as it was when the client was made."""
        self.digest = record.manifest.digest
        """Of the store whose model it asks."""
        self.model = record.text_model()
        """By which questions are encoded."""
        self._wait_s, self._or_else = wait_s, or_else
        self._is_lasting = is_lasting
        self._taking_in = self._begin_taking_in() if is_lasting and heal_timeout_s else None
        self._watching = threading.Lock()
        self._watch = PipelineWatch(dialer)

    @classmethod
    def connect(
        cls,
        cluster: str = settings.DEFAULT_CLUSTER,
        *,
        wait_s: float = DEFAULT_WAIT_S,
        heal_timeout_s: float = settings.HEAL_TIMEOUT_S,
        give_up_after_s: float = settings.GIVE_UP_AFTER_S,
        on_notice: Callable[[str], None] | None = None,
        on_warning: Callable[[str], None] | None = None,
    ) -> Self:
        """A client of the pipeline that is up in ``cluster``, as this user may call it.

        A question waits up to ``wait_s`` seconds while the pipeline answers another program. A
        node that is silent for longer than ``give_up_after_s`` is lost. When nodes are lost, the
        pipeline is mended for up to ``heal_timeout_s``: see docs/operations.md.
        ``on_notice`` is told in sentences, on any thread, what goes on meanwhile; ``on_warning``
        what people should know. Both are logged where they are not given.

        Raises ``StateError`` when no pipeline is up, ``AccessError`` when this user may not ask it.
        """
        record = load_record(cluster)
        warn = on_warning or log.warning
        if still_insecure(cluster, record.insecure):
            warn(insecure_warning(cluster))
        dialer = dialer_to_ask(cluster, record, warn)
        return cls(
            *(record, dialer, wait_s, on_notice),
            heal_timeout_s=heal_timeout_s,
            give_up_after_s=give_up_after_s,
        )

    def ask(self, prompt: Prompt, **keywords: Unpack[AskKeywords]) -> Answer:
        """Ask and wait for the whole answer. Keywords are those of ``pi-cluster prompt``.

        A string is a turn of a chat (or continued, with ``raw=True``); a list of numbers is token
        ids, which are continued; a list of ``{"role": ..., "content": ...}`` is a chat.

        Raises ``PromptError`` and ``SettingsError`` for what cannot be asked, and ``ClusterError``
        when the pipeline cannot answer.
        """
        with self.pose(self.question(prompt, **keywords)) as stream:
            return _whole(stream)

    def stream(self, prompt: Prompt, **keywords: Unpack[AskKeywords]) -> AnswerStream:
        """Ask, as `ask` does, for an answer in pieces. It is under way when this returns."""
        return self.pose(self.question(prompt, **keywords))

    def embed(
        self,
        texts: Sequence[str | Sequence[int]],
        *,
        pooling: Pooling | str = Pooling.LAST,
        dimensions: int | None = None,
        truncate: bool = False,
    ) -> Embedded:
        """The vectors of texts, or of token ids, for comparing what they are about.

        ``pooling`` is as the model was made for: ``last`` or ``mean``. ``dimensions`` keeps the
        first ones alone, of models that were made for that. A text that is too long is refused, or
        with ``truncate`` its end is left off. Raises as `ask` does.
        """
        keywords = vector_keywords(pooling, truncate=truncate)
        questions = [self.question(text, **keywords) for text in texts]
        under_way = collections.deque[AnswerStream]()
        answers: list[Answer] = []
        try:
            for number, question in enumerate(questions):
                if number >= AT_ONCE:
                    answers.append(_whole(under_way.popleft()))
                under_way.append(self.pose(question))
            answers += [_whole(stream) for stream in under_way]
        finally:
            for stream in under_way:
                stream.close()
        return embedded(answers, dimensions)

    def score(self, ids: Sequence[int], *, first: int = 1) -> list[float]:
        """How likely the model finds each of some ids behind those before it, from ``first`` on.

        Natural logarithms of probabilities: of the model's own distribution, before temperature
        and the like. `model.raw_ids` gives a text's ids. Raises as `ask` does.
        """
        if first < 1:
            raise SettingsError(f"first is {first}; it must be at least 1: nothing stands before 0")
        scoring = Scoring(ids[first:], self.record.model.vocab_size)
        return scores_of(self.ask(ids[:-1], **score_keywords(scoring)))

    def question(
        self,
        prompt: Prompt,
        *,
        raw: bool = False,
        think: bool | None = None,
        stop: str | Sequence[str] = (),
        schema: Mapping[str, Any] | None = None,
        tools: Sequence[Tool | Mapping[str, Any]] = (),
        tool_choice: str | None = None,
        parallel_tool_calls: bool = True,
        continues: bool = False,
        truncate: bool = False,
        **keywords: Unpack[GenerationKeywords],
    ) -> Question:
        """Encode what is to be asked, which `ask` would do first; raises as it does."""
        stops = (stop,) if isinstance(stop, str) else stop
        options = generation_options(**keywords)
        return make_question(
            *(self.model, prompt, options, stops, self._notices.tell),
            raw=raw,
            think=think,
            schema=schema,
            tools=tools,
            tool_choice=tool_choice,
            parallel_tool_calls=parallel_tool_calls,
            continues=continues,
            most_pooled=self.room().most_prompt_tokens if truncate else None,
        )

    def pose(
        self,
        question: Question,
        begun: Sequence[int] = (),
        on_token: Callable[[int], None] | None = None,
    ) -> AnswerStream:
        """Ask what was encoded. It is under way when this returns.

        The answer goes on behind ``begun``, which is the first of what comes; ``on_token`` is told
        of each further token, by whoever iterates.
        """
        return AnswerStream(self.prepare(question, begun, on_token))

    def prepare(
        self,
        question: Question,
        begun: Sequence[int] = (),
        on_token: Callable[[int], None] | None = None,
    ) -> Asked:
        """What is to be asked, for whoever has another way to wait; see `pose`."""
        patience = Patience(
            *(self._wait_s, self._or_else, self._notices.tell), is_lasting=self._is_lasting
        )
        return Asked(self._hold, question, patience, begun, on_token)

    def room(self) -> Room:
        """How long a text may become in the pipeline that is up now.

        Raises ``StateError`` when none is up, or one with another model.
        """
        record = self._hold.load()
        return Room(record.model, record.cache_limits)

    def status(self) -> PipelineStatus:
        """How each stage of the pipeline that is up now is; asks all nodes."""
        record = load_record(self._hold.cluster)
        with self._watching:
            return PipelineStatus.of(record, self._watch.look(record))

    def release(self) -> None:
        """Free the pipeline for other programs; questions take it back, and answers go on."""
        self._hold.release()

    @property
    def occupancy(self) -> Occupancy:
        """How full the pipeline is with what this client asks."""
        return self._hold.occupancy

    def check_queue(self) -> None:
        """Raises ``QueueFull`` when too many questions wait for another one to be asked now."""
        self._hold.check_queue()

    @property
    def cluster(self) -> str:
        """Whose pipeline it asks."""
        return self._hold.cluster

    @property
    def counters(self) -> Counters:
        """What the pipeline has done for this client; the sums grow as it is asked."""
        return self._hold.counters

    def close(self) -> None:
        """Let go of the pipeline. Answers that are not at their end raise ``PipelineClosed``."""
        try:
            if self._taking_in:
                self._taking_in.close()
            self._hold.close()
        finally:
            with self._watching:
                self._watch.close()

    def _begin_taking_in(self) -> "TakingIn":
        from pi_cluster.coordinator.healing.taking_in import TakingIn

        taking_in = TakingIn(self.record, self._hold.healer, self._is_idle)
        taking_in.begin()
        return taking_in

    def _is_idle(self) -> bool:
        occupancy = self._hold.occupancy
        return not (occupancy.running or occupancy.waiting)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()


def _whole(stream: AnswerStream) -> Answer:
    for _ in stream:
        pass
    return stream.answer
