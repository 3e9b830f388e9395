"""The characters of an answer, taken one by one by whoever looks for calls in it."""

from collections.abc import Collection, Generator
from typing import TypeVar

from pi_cluster.coordinator.calling.tools import ToolCall, new_call_id

T = TypeVar("T")
Reading = Generator[None, str, T]
"""Is sent one character at a time, and then "" as often as it wants one more."""


class Feed:
    """Holds what was taken until it turns out to be text or a call: nothing of it is lost.

    What is put back is taken again. Readers put back what they looked ahead at, which is bounded,
    or what stood before a text: so the work is linear in the answer's length.
    """

    def __init__(self, names: Collection[str], most: int) -> None:
        """``names`` may be called, ``most`` times altogether."""
        self.names = names
        self.out: list[str | ToolCall] = []
        """What is certain, and was not handed on yet."""
        self.called = 0
        self._most = most
        self._held: list[str] = []
        self._again: list[str] = []  # the next one last

    def take(self) -> Reading[str]:
        """The next character; "" at the end."""
        character = self._again.pop() if self._again else (yield)
        self._held.append(character)
        return character

    def put_back(self, count: int = 1) -> None:
        """Have the last characters taken again."""
        for _ in range(count):
            self._again.append(self._held.pop())

    def put_all_back(self) -> None:
        """Have all that is held taken again."""
        self.put_back(len(self._held))

    def drop(self) -> None:
        """What is held belongs to the spelling of calls."""
        self._held.clear()

    def say(self) -> None:
        """What is held is text."""
        self.say_instead("".join(self._held))

    def say_instead(self, text: str) -> None:
        """What is held spells this text."""
        self._held.clear()
        if text:
            self.out.append(text)

    def call(self, name: str, arguments: str, call_id: str | None = None) -> bool:
        """What is held ends a call; False where that may not be called, and all is still held."""
        if name not in self.names or self.called == self._most:
            return False
        self.called += 1
        self._held.clear()
        self.out.append(ToolCall(call_id or new_call_id(), name, arguments))
        return True
