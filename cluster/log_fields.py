"""What a line of the log is about, apart from its words: for whoever gathers logs of many nodes."""

from typing import TypedDict


class LogFields(TypedDict, total=False):
    """Given as ``extra`` of a log call; `JsonLines` writes what is there, text has words alone.

    No text of a user and no secret has a place in it.
    """

    epoch: int
    session: str
    """The name that its coordinator gave it."""
    sequence: int
    step: int
    """The last one that was computed, or sent."""
    node: str
    """The name of the node that logs, or that is meant."""
    caller: str
    """Who called: an identity, or an address."""

    # Of a request to a server.
    asker: str
    """The name of its key."""
    method: str
    path: str
    status: int
    seconds: float
    prompt_tokens: int
    generated_tokens: int
    finish: str


FIELDS = tuple(LogFields.__annotations__)
"""Their names."""
