"""Thoughts as APIs give them: in a field of their own, so without their tags."""

from pi_cluster.coordinator.asking.parts import Part, Said, Thought
from pi_cluster.transformer.text.thoughts import CLOSING, OPENING


class Untagged:
    """Takes the tags off one answer's thoughts, and the white space around both."""

    def __init__(self) -> None:
        self._is_thought = False
        self._is_edge = False

    def part(self, part: Part) -> Part:
        """The same without tags; its text may be empty."""
        if isinstance(part, Thought):
            text = part.text
            if not self._is_thought:
                self._is_thought = self._is_edge = True
                text = text.lstrip().removeprefix(OPENING)
            closed = text.removesuffix(CLOSING)
            if closed != text:
                text = self._inner(closed.rstrip())
                self._is_edge = True  # of what is said behind it
                return Thought(text)
            return Thought(self._inner(text))
        if isinstance(part, Said):
            return Said(self._inner(part.text))
        return part

    def _inner(self, text: str) -> str:
        if self._is_edge:
            text = text.lstrip()
            self._is_edge = not text
        return text
