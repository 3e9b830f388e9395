"""Continued texts as OpenAI streams them, and whole."""

from collections.abc import Sequence

import msgspec

from pi_cluster.coordinator.asking.answer import Answer
from pi_cluster.coordinator.standing import Standing
from pi_cluster.coordinator.text_model import TextModel
from pi_cluster.server.asking.gathering import Gathered
from pi_cluster.server.asking.model_card import ModelCard
from pi_cluster.server.asking.reply import Ended, Event
from pi_cluster.server.http.failures import openai_error
from pi_cluster.server.http.refusal import Refusal
from pi_cluster.server.openai.answers import Completion, TextChoice
from pi_cluster.server.openai.events import DONE, MEDIA_TYPE, event, failure_event
from pi_cluster.server.openai.figures import finish_of, timings_of, usage_of
from pi_cluster.server.openai.heading import Heading
from pi_cluster.server.openai.heartbeat import heartbeat
from pi_cluster.server.openai.likelihoods import Likelihoods


class TextFraming:
    """Chunks of continued texts, ``n`` for each prompt."""

    media_type = MEDIA_TYPE

    def __init__(
        self, card: ModelCard, model: TextModel, choices: int, n: int, *, with_usage: bool
    ) -> None:
        self._n = n
        self._with_usage = with_usage
        self._words = Heading("cmpl", card).words
        self._likelihoods = [Likelihoods(model, continuation=True) for _ in range(choices)]
        self._answers: dict[int, Answer] = {}

    def opening(self) -> bytes:
        """Nothing: headers are enough to know that somebody is there."""
        return b""

    def event(self, event: Event) -> bytes:
        """A chunk for all that a text has grown by, or its last one."""
        if isinstance(event, Ended):
            return self._last(event.choice, event.answer)
        piece = event.piece
        if not (piece.text or piece.logprobs):
            return b""
        likely = None
        if piece.logprobs:
            likely = self._likelihoods[event.choice].of_text(piece.logprobs)
        return self._chunk(TextChoice(event.choice, piece.text, likely))

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
        answers = [self._answers[choice] for choice in sorted(self._answers)]
        usage = usage_of(answers, self._n)
        return event(Completion(*self._words, [], usage=usage)) + DONE

    def _last(self, choice: int, answer: Answer) -> bytes:
        self._answers[choice] = answer
        ended = TextChoice(choice, "", finish_reason=finish_of(answer))
        return event(Completion(*self._words, [ended], timings=timings_of(answer)))

    def _chunk(self, choice: TextChoice) -> bytes:
        return event(Completion(*self._words, [choice]))


class TextForm:
    """Continued texts in one object, ``n`` for each prompt."""

    def __init__(self, card: ModelCard, model: TextModel, n: int) -> None:
        self._model = model
        self._n = n
        self._words = Heading("cmpl", card).words

    def whole(self, answers: Sequence[Gathered]) -> bytes:
        """A ``Completion``."""
        of = [gathered.answer for gathered in answers]
        choices = [self._choice(number, answer) for number, answer in enumerate(of)]
        usage, timings = usage_of(of, self._n), timings_of(of[0])
        return msgspec.json.encode(Completion(*self._words, choices, usage=usage, timings=timings))

    def refused(self, refusal: Refusal) -> bytes:
        """The error that clients raise."""
        return msgspec.json.encode(openai_error(refusal))

    def _choice(self, number: int, answer: Answer) -> TextChoice:
        likely = None
        if answer.logprobs:
            likely = Likelihoods(self._model, continuation=True).of_text(answer.logprobs)
        return TextChoice(number, answer.text or "", likely, finish_of(answer))
