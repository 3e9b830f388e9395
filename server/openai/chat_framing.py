"""A chat's answers as OpenAI streams them, and whole."""

from collections.abc import Sequence

import msgspec
from msgspec import UNSET

from pi_cluster.coordinator.asking.answer import Answer
from pi_cluster.coordinator.asking.parts import Called, Part, Said, Thought
from pi_cluster.coordinator.calling.tools import ToolCall
from pi_cluster.coordinator.standing import Standing
from pi_cluster.coordinator.text_model import TextModel
from pi_cluster.server.asking.gathering import Gathered
from pi_cluster.server.asking.model_card import ModelCard
from pi_cluster.server.asking.reply import Ended, Event
from pi_cluster.server.asking.untagged import Untagged
from pi_cluster.server.http.failures import openai_error
from pi_cluster.server.http.refusal import Refusal
from pi_cluster.server.openai.answers import (
    AnswerMessage,
    CalledTool,
    CalledToolChunk,
    ChatChoice,
    ChatChunk,
    ChatCompletion,
    ChatLogprobs,
    ChunkChoice,
    Delta,
    FunctionCall,
)
from pi_cluster.server.openai.events import DONE, MEDIA_TYPE, event, failure_event
from pi_cluster.server.openai.figures import finish_of, timings_of, usage_of
from pi_cluster.server.openai.heading import Heading
from pi_cluster.server.openai.heartbeat import heartbeat
from pi_cluster.server.openai.likelihoods import Likelihoods


class ChatFraming:
    """Chunks of a chat with ``choices`` answers."""

    media_type = MEDIA_TYPE

    def __init__(
        self,
        card: ModelCard,
        model: TextModel,
        choices: int,
        *,
        with_usage: bool,
        continuation: bool = False,
    ) -> None:
        """``continuation``: the answers go on with what the assistant has begun to say."""
        self._with_usage = with_usage
        self._words = Heading("chatcmpl", card).words
        self._tags = [Untagged() for _ in range(choices)]
        self._likelihoods = [Likelihoods(model, continuation=continuation) for _ in range(choices)]
        self._calls = [0] * choices
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
        deltas = self._deltas(event.choice, [tags.part(part) for part in event.piece.parts])
        if logprobs := event.piece.logprobs:
            first, *deltas = deltas or [Delta(content="")]
            likely = self._likelihoods[event.choice].of_chat(logprobs)
            head = self._chunk(event.choice, first, likely)
            return head + b"".join(self._chunk(event.choice, delta) for delta in deltas)
        return b"".join(self._chunk(event.choice, delta) for delta in deltas)

    def silence(self, standing: Standing | None) -> bytes:
        """A comment."""
        return heartbeat(standing)

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

    def _deltas(self, choice: int, parts: Sequence[Part]) -> list[Delta]:
        deltas = []
        for part in parts:
            match part:
                case Said(text) if text:
                    deltas.append(Delta(content=text))
                case Thought(text) if text:
                    deltas.append(Delta(reasoning_content=text))
                case Called(call):
                    # One call a chunk: some clients read no more of each.
                    called = CalledToolChunk(call.id, _function(call), index=self._calls[choice])
                    self._calls[choice] += 1
                    deltas.append(Delta(tool_calls=[called]))
        return deltas

    def _chunk(self, choice: int, delta: Delta, likely: ChatLogprobs | None = None) -> bytes:
        return event(ChatChunk(*self._words, [ChunkChoice(choice, delta, likely)]))


class ChatForm:
    """A chat's answers in one object."""

    def __init__(self, card: ModelCard, model: TextModel, *, continuation: bool = False) -> None:
        """``continuation``: the answers go on with what the assistant has begun to say."""
        self._model, self._continuation = model, continuation
        self._words = Heading("chatcmpl", card).words

    def whole(self, answers: Sequence[Gathered]) -> bytes:
        """A ``ChatCompletion``."""
        choices = [self._choice(number, gathered) for number, gathered in enumerate(answers)]
        all_answers = [gathered.answer for gathered in answers]
        usage = usage_of(all_answers, len(answers))
        timings = timings_of(all_answers[0])
        return msgspec.json.encode(ChatCompletion(*self._words, choices, usage, timings))

    def refused(self, refusal: Refusal) -> bytes:
        """The error that clients raise."""
        return msgspec.json.encode(openai_error(refusal))

    def _choice(self, number: int, gathered: Gathered) -> ChatChoice:
        answer = gathered.answer
        calls = [CalledTool(call.id, _function(call)) for call in answer.tool_calls]
        message = AnswerMessage(
            gathered.said or (None if calls else ""),
            reasoning_content=gathered.thought or UNSET,
            tool_calls=calls or UNSET,
        )
        likely = Likelihoods(self._model, continuation=self._continuation).of_chat(answer.logprobs)
        return ChatChoice(number, message, finish_of(answer), likely if answer.logprobs else None)


def _function(call: ToolCall) -> FunctionCall:
    return FunctionCall(call.name, call.arguments)
