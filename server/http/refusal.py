"""What a client is told instead of an answer."""

from dataclasses import dataclass, field
from typing import NoReturn


@dataclass(slots=True)
class Refusal(Exception):
    """A request that is not answered; each API words it in its own form.

    ``status`` is HTTP's, ``code`` a word that programs can compare, ``message`` says what to do.
    """

    status: int
    code: str
    message: str
    headers: dict[str, str] = field(default_factory=dict)
    field_name: str | None = None
    """Which part of the request is at fault."""

    def __str__(self) -> str:
        return self.message


def refuse(field_name: str, why: str) -> NoReturn:
    """Refuse what a field of a request says."""
    raise Refusal(400, "unsupported_value", why, field_name=field_name)
