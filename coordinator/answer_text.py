"""From token ids to the text that a person sees, as it comes."""

from collections.abc import Sequence

from pi_cluster.transformer.errors import SettingsError
from pi_cluster.transformer.text.detokenizer import IncrementalDetokenizer


class AnswerText:
    """Text of an answer that ends before the first stop string.

    What might be the beginning of a stop string is held back until the next tokens decide.
    """

    def __init__(self, detokenizer: IncrementalDetokenizer, stops: Sequence[str] = ()) -> None:
        if not all(stops):
            raise SettingsError("a stop string is empty: leave --stop out instead")
        self.text = ""
        self.stopped = False
        """Whether a stop string was met."""
        self._detokenizer = detokenizer
        self._stops = tuple(stops)
        self._held = ""

    def push(self, token_id: int) -> str:
        """Add a token; returns the text that may be shown now."""
        return self._show(self._detokenizer.push(token_id))

    def finish(self) -> str:
        """The rest, when no more tokens come."""
        shown = self._show(self._detokenizer.finish())
        if not self.stopped:
            shown += self._held
            self.text += self._held
        self._held = ""
        return shown

    def _show(self, piece: str) -> str:
        if self.stopped:
            return ""
        self._held += piece
        found = [(at + len(s), at) for s in self._stops if (at := self._held.find(s)) >= 0]
        if found:
            self.stopped = True
            # The first that is complete, not the first that begins: how the text was cut into
            # tokens makes no difference then.
            _, start = min(found)
            shown, self._held = self._held[:start], ""
        else:
            keep = max((_overlap(self._held, stop) for stop in self._stops), default=0)
            cut = len(self._held) - keep
            shown, self._held = self._held[:cut], self._held[cut:]
        self.text += shown
        return shown


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of ``text`` that begins ``stop``."""
    longest = min(len(text), len(stop) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(stop[:n])), 0)
