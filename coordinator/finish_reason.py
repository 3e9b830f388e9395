"""Why a text ended."""

from enum import StrEnum


class FinishReason(StrEnum):
    """Also what `prompt --json` prints."""

    EOS = "eos"
    STOP = "stop"
    LENGTH = "length"
    CONTEXT = "context"
    INTERRUPTED = "interrupted"
