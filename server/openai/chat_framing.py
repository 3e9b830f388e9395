"""A chat's answers as OpenAI streams them, and whole."""

from collections.abc import Sequence

import msgspec
from msgspec import UNSET

from pi_cluster.coordinator.asking.answer import Answer
from pi_cluster.coordinator.asking.parts import Part, Said, Thought
from pi_cluster.server.asking.gathering import Gathered
from pi_cluster.server.asking.model_card import ModelCard
from pi_cluster.server.asking.reply import Ended, Event
from pi_cluster.server.asking.untagged import Untagged
from pi_cluster.server.http.failures import openai_error
from pi_cluster.server.http.refusal import Refusal
from pi_cluster.server.openai.answers import (
    AnswerMessage,
    ChatChoice,
    ChatChunk,
    ChatCompletion,
    ChunkChoice,
    Delta,
    Finish,
)
from pi_cluster.server.openai.events import DONE, MEDIA_TYPE, event, failure_event
from pi_cluster.server.openai.figures import finish_of, timings_of, usage_of
from pi_cluster.server.openai.heading import Heading
from pi_cluster.server.openai.heartbeat import HEARTBEAT


class ChatFraming:
    """Chunks of a chat with ``choices`` answers."""

    media_type = MEDIA_TYPE

    def __init__(self, card: ModelCard, choices: int, with_usage: bool) -> None:
        self._with_usage = with_usage
        self._words = Heading("chatcmpl", card).words
        self._tags = [Untagged() for _ in range(choices)]
        self._answers: list[Answer] = []

    def opening(self) -> bytes:
        """The role of each answer."""
        begin = Delta(role="assistant", content="")
        return b"".join(self._chunk(choice, begin) for choice in range(len(self._tags)))

    def event(self, event: Event) -> bytes:
        """A chunk for all that an answer has grown by, or its last one."""
        if isinstance(event, Ended):
            return self._last(event.choice, event.answer)
        tags = self._tags[event.choice]
        parts = [tags.part(part) for part in event.piece.parts]
        return b"".join(self._chunk(event.choice, delta) for delta in _deltas(parts))

    def silence(self) -> bytes:
        """A comment."""
        return HEARTBEAT

    def failure(self, error: Exception) -> bytes:
        """An event with an error, which clients raise."""
        return failure_event(error)

    def closing(self) -> bytes:
        """What all of it cost, where that was asked for, and the end."""
        if not self._with_usage:
            return DONE
        usage = usage_of(self._answers, len(self._tags))
        return event(ChatChunk(*self._words, [], usage=usage)) + DONE

    def _last(self, choice: int, answer: Answer) -> bytes:
        self._answers.append(answer)
        ended = ChunkChoice(choice, Delta(), finish_reason=finish_of(answer))
        return event(ChatChunk(*self._words, [ended], timings=timings_of(answer)))

    def _chunk(self, choice: int, delta: Delta) -> bytes:
        return event(ChatChunk(*self._words, [ChunkChoice(choice, delta)]))


class ChatForm:
    """A chat's answers in one object."""

    def __init__(self, card: ModelCard) -> None:
        self._words = Heading("chatcmpl", card).words

    def whole(self, answers: Sequence[Gathered]) -> bytes:
        """A ``ChatCompletion``."""
        choices = [_choice(number, gathered) for number, gathered in enumerate(answers)]
        all_answers = [gathered.answer for gathered in answers]
        usage = usage_of(all_answers, len(answers))
        timings = timings_of(all_answers[0])
        return msgspec.json.encode(ChatCompletion(*self._words, choices, usage, timings))

    def refused(self, refusal: Refusal) -> bytes:
        """An ``ApiError``."""
        return msgspec.json.encode(openai_error(refusal))


def _choice(number: int, gathered: Gathered) -> ChatChoice:
    message = AnswerMessage(gathered.said, reasoning_content=gathered.thought or UNSET)
    finish: Finish = finish_of(gathered.answer)
    return ChatChoice(number, message, finish)


def _deltas(parts: Sequence[Part]) -> list[Delta]:
    deltas = []
    for part in parts:
        match part:
            case Said(text) if text:
                deltas.append(Delta(content=text))
            case Thought(text) if text:
                deltas.append(Delta(reasoning_content=text))
    return deltas
