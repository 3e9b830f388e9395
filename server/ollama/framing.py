"""An answer as Ollama streams it, a line of JSON for whatever comes, and whole."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import UNSET

from pi_cluster.coordinator.asking.answer import Answer
from pi_cluster.coordinator.asking.parts import Called, Part, Said, Thought
from pi_cluster.coordinator.calling.json_text import read_json
from pi_cluster.coordinator.calling.tools import ToolCall
from pi_cluster.coordinator.finish_reason import FinishReason
from pi_cluster.coordinator.standing import Standing
from pi_cluster.server.asking.gathering import Gathered
from pi_cluster.server.asking.reply import Ended, Event
from pi_cluster.server.asking.untagged import Untagged
from pi_cluster.server.http.failures import ollama_error, refusal_of
from pi_cluster.server.http.refusal import Refusal
from pi_cluster.server.ollama.answers import Call, ChatFrame, Done, Frame, Function, GenerateFrame
from pi_cluster.server.ollama.likelihoods import Likelihoods

_FINISHES: dict[FinishReason, Done] = {
    FinishReason.EOS: "stop",
    FinishReason.STOP: "stop",
    FinishReason.LENGTH: "length",
    FinishReason.CONTEXT: "length",
}

_encode = msgspec.json.Encoder().encode


class AnswerFrames:
    """Makes the objects that one answer consists of."""

    def __init__(
        self, kind: type[ChatFrame] | type[GenerateFrame], model: str, *, raw: bool
    ) -> None:
        """``model`` is its name as the client said it; of a ``raw`` text no part is told apart."""
        self.raw = raw
        self._kind = kind
        self._model = model
        self._begun_s = time.monotonic()
        self._calls = 0

    def part(self, parts: Sequence[Part], **told: Any) -> Frame:
        """What an answer has grown by, beside what else is ``told``."""
        said = "".join(part.text for part in parts if isinstance(part, Said))
        thought = "".join(part.text for part in parts if isinstance(part, Thought))
        calls = [self._call(part.call) for part in parts if isinstance(part, Called)]
        return self._frame(said, thought, calls, done=False, **told)

    def whole(self, parts: Sequence[Part], answer: Answer, **told: Any) -> Frame:
        """The last of a stream, without parts, or the only one.

        Raises ``Refusal`` for an answer that the server cut off.
        """
        if answer.was_interrupted:
            raise Refusal(503, "interrupted", "the server ended this answer: ask again")
        times = answer.timings
        frame = self.part(parts, **told)
        frame.done, frame.done_reason = True, _FINISHES[answer.finish_reason]
        frame.total_duration = _ns(time.monotonic() - self._begun_s)
        frame.load_duration = _ns(times.load_s)
        frame.prompt_eval_count = len(answer.prompt_ids)
        frame.prompt_eval_duration = _ns(times.prefill_s)
        frame.eval_count = len(answer.ids)
        frame.eval_duration = _ns(times.decode_s)
        return frame

    def without_answer(self, reason: Done) -> Frame:
        """To a request that asks nothing."""
        return self._frame("", "", (), done=True, done_reason=reason)

    def _call(self, call: ToolCall) -> Call:
        # Read and written anew, so that no line end of the model's is in it.
        function = Function(self._calls, call.name, read_json(call.arguments))
        self._calls += 1
        return Call(call.id, function)

    def _frame(self, said: str, thought: str, calls: Sequence[Call], **told: Any) -> Frame:
        told |= {"model": self._model, "created_at": datetime.now(UTC)}
        return self._kind.of(said, thought, calls, **told)


class AnswerLines:
    """One line of JSON for all that an answer has grown by; the last has its figures."""

    media_type = "application/x-ndjson"

    def __init__(self, frames: AnswerFrames, likelihoods: Likelihoods) -> None:
        self._frames = frames
        self._likelihoods = likelihoods
        self._tags = Untagged()

    def opening(self) -> bytes:
        """Nothing: headers are enough to know that somebody is there."""
        return b""

    def event(self, event: Event) -> bytes:
        """A line, if there is something to tell."""
        if isinstance(event, Ended):
            return _line(self._frames.whole((), event.answer))
        piece = event.piece
        if self._frames.raw:
            parts: list[Part] = [Said(piece.text)]
        else:
            parts = [self._tags.part(part) for part in piece.parts]
        if not (piece.logprobs or any(isinstance(part, Called) or part.text for part in parts)):
            return b""
        likely = self._likelihoods.of(piece.logprobs) or UNSET
        return _line(self._frames.part(parts, logprobs=likely))

    def silence(self, _standing: Standing | None) -> bytes:
        """An answer that has grown by nothing: clients add it, and choke on a blank line."""
        return _line(self._frames.part(()))

    def failure(self, error: Exception) -> bytes:
        """A line with an error, which clients raise."""
        return _line(ollama_error(refusal_of(error)))

    def closing(self) -> bytes:
        """Nothing: the answer's last line was the end."""
        return b""


class AnswerObject:
    """An answer in one object."""

    def __init__(self, frames: AnswerFrames, likelihoods: Likelihoods) -> None:
        self._frames = frames
        self._likelihoods = likelihoods

    def whole(self, answers: Sequence[Gathered]) -> bytes:
        """All of it, with its figures."""
        (gathered,) = answers
        answer = gathered.answer
        parts = [Said(answer.text or "")] if self._frames.raw else gathered.parts
        likely = self._likelihoods.of(answer.logprobs) or UNSET
        return _encode(self._frames.whole(parts, answer, logprobs=likely))

    def refused(self, refusal: Refusal) -> bytes:
        """The error that clients raise."""
        return _encode(ollama_error(refusal))


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)


def _line(value: object) -> bytes:
    return _encode(value) + b"\n"
