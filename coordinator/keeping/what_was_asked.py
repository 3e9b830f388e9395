"""What is kept of a question: all that it takes to ask it again, exactly."""

from dataclasses import dataclass
from typing import Any, Self

_FORM = 1  # of the record; what another version has written is not read
_MOST_ID = 1 << 31


@dataclass(frozen=True, slots=True)
class Asking:
    """What was asked, in values that are JSON."""

    command: str
    """Which command asked: ``prompt`` or ``chat``, or ``serve`` for who asked a server."""
    digest: str
    """Of the store whose model was asked."""
    prompt: str | list[Any]
    """As the user gave it: a text, ids or turns."""
    keywords: dict[str, Any]
    """``AskKeywords`` that are JSON; the seed is one of them."""
    prompt_ids: list[int]
    """What the model was given: a template may tell the date, and another day is another text."""
    asked_unix_s: float = 0.0
    """When it was asked; 0 where nobody wants to know."""

    def to_json(self) -> dict[str, Any]:
        """The first record of an answer."""
        return {
            "form": _FORM,
            "command": self.command,
            "digest": self.digest,
            "prompt": self.prompt,
            "keywords": self.keywords,
            "prompt_ids": self.prompt_ids,
            "asked_unix_s": self.asked_unix_s,
        }

    @classmethod
    def from_json(cls, told: object) -> Self | None:
        """What a first record says, or None for one that says nothing that is known here."""
        match told:
            case {
                "form": form,
                "command": str(command),
                "digest": str(digest),
                "prompt": str() | list() as prompt,
                "keywords": dict(keywords),
                "prompt_ids": list(prompt_ids),
                "asked_unix_s": float(asked_unix_s),
            } if form == _FORM and are_ids(prompt_ids):
                return cls(command, digest, prompt, keywords, prompt_ids, asked_unix_s)
        return None


def are_ids(told: object) -> bool:
    """Whether a JSON value is a list of token ids."""
    return isinstance(told, list) and all(
        isinstance(one, int) and not isinstance(one, bool) and 0 <= one < _MOST_ID for one in told
    )
