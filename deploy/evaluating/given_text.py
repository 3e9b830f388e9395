"""The text that a model is evaluated on: a file's or standard input's, in UTF-8, as it stands."""

import sys
from pathlib import Path

from pi_cluster.cluster.small_file import read_small
from pi_cluster.transformer.errors import PromptError
from pi_cluster.transformer.text.given_bytes import decoded

MOST_BYTES = 64 << 20
_STANDARD_INPUT = Path("-")


def given_text(path: Path) -> str:
    """All of it; ``-`` is standard input. Raises ``PromptError`` where it is no text to score."""
    name = "standard input" if path == _STANDARD_INPUT else str(path)
    try:
        data = _read_standard_input() if path == _STANDARD_INPUT else read_small(path, MOST_BYTES)
    except OSError as error:
        raise PromptError(f"cannot read {name}: {error.strerror}") from error
    except ValueError as error:
        raise PromptError(f"{name} is too long, {error}: give a part of it") from error
    return decoded(data, name)


def _read_standard_input() -> bytes:
    data = sys.stdin.buffer.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise ValueError(f"it has more than {MOST_BYTES} bytes")
    return data
