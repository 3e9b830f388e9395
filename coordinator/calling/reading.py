"""Tells the calls of an answer from its text, as it comes."""

from collections.abc import Collection, Sequence

from pi_cluster.coordinator.calling.call_format import CallFormat
from pi_cluster.coordinator.calling.feed import Feed
from pi_cluster.coordinator.calling.tools import ToolCall


class CallReader:
    """Takes what a model says, in which characters of their own stand for added tokens.

    However the answer is cut into pieces, its calls and its text are the same.
    """

    def __init__(self, call_format: CallFormat, names: Collection[str], most: int) -> None:
        """``names`` may be called, ``most`` times altogether; what calls others is text."""
        marks = call_format.marks.values()
        self._spellings = {ord(mark.character): mark.spelling for mark in marks}
        self._feed = Feed(names, most)
        self._reading = call_format.read(self._feed)
        next(self._reading)
        self._has_ended = False

    def push(self, text: str) -> Sequence[str | ToolCall]:
        """What is certain now."""
        for character in text:
            self._reading.send(character)
        return self._certain()

    def finish(self) -> Sequence[str | ToolCall]:
        """The rest, when no more comes."""
        while not self._has_ended:
            try:
                self._reading.send("")
            except StopIteration:
                self._has_ended = True
        self._feed.say()
        return self._certain()

    def unmarked(self, text: str) -> str:
        """A text that holds no call, with its marked tokens spelt."""
        return text.translate(self._spellings)

    def _certain(self) -> Sequence[str | ToolCall]:
        """In order, neighbouring texts as one."""
        certain: list[str | ToolCall] = []
        for one in self._feed.out:
            if isinstance(one, str):
                one = self.unmarked(one)
                if certain and isinstance(certain[-1], str):
                    certain[-1] += one
                    continue
            certain.append(one)
        self._feed.out.clear()
        return certain
