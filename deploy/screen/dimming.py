"""What a model thinks before it answers, shown apart from the answer.

`transformer/text/thoughts.py` has how a thought is spelt.
"""

from collections.abc import Iterator

from pi_cluster.transformer.text.thoughts import CLOSING, OPENING


class Thought:
    """Says of an answer that comes in pieces which part of it is a thought, tags included.

    A thought comes first, or there is none: what an answer says of ``<think>`` later is its text.
    """

    def __init__(self, *, begun: bool) -> None:
        """``begun``: the prompt has opened the thought that the answer goes on with."""
        self._is_thought = True if begun else None  # None: not known yet
        self._held = ""

    def push(self, piece: str) -> Iterator[tuple[str, bool]]:
        """Parts that may be shown now, each with whether it is of the thought."""
        if self._is_thought is False:
            yield piece, False
            return
        self._held += piece
        if self._is_thought is None:
            begun = self._held.lstrip()
            if OPENING.startswith(begun):  # it may become the tag yet
                return
            self._is_thought = begun.startswith(OPENING)
        before, tag, after = self._held.partition(CLOSING)
        if not self._is_thought or tag:
            self._held = ""
            if self._is_thought:
                yield before + tag, True
            else:
                after = before + tag + after
            self._is_thought = False
            yield after, False
            return
        kept = next((n for n in range(len(CLOSING) - 1, 0, -1) if before.endswith(CLOSING[:n])), 0)
        self._held = before[len(before) - kept :]
        yield before[: len(before) - kept], True

    def finish(self) -> tuple[str, bool]:
        """What was held back, when no more comes."""
        held, self._held = self._held, ""
        return held, bool(self._is_thought)
