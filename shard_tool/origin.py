"""What a store was made from, as it tells people. Nothing that is computed depends on it."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from pi_cluster.cluster.shown import shown_line

MOST_NAME = 200
"""Characters of a name."""
IMATRIX, CALIBRATION = KINDS = "imatrix", "calibration"
"""How columns are weighed: by llama.cpp's file, or by a text that the model itself read."""
_COMMIT = re.compile(r"[0-9a-f]{7,64}")
_HASH = re.compile(r"[0-9a-f]{64}")
_MOST_TOKENS = 2**40


@dataclass(frozen=True, slots=True)
class WeighedBy:
    """What told how much columns count, valid from birth (else ``ValueError``)."""

    kind: str
    """One of ``KINDS``."""
    file_name: str
    sha256: str
    tokens: int | None
    """Of text over which the means are; None where the file does not say it."""

    def __post_init__(self) -> None:
        _check_name(self.file_name)
        if self.kind not in KINDS:
            raise ValueError("it was weighed in an unknown way")
        if not isinstance(self.sha256, str) or not _HASH.fullmatch(self.sha256):
            raise ValueError("a SHA-256 is not 64 hex digits")
        if self.tokens is not None and (
            type(self.tokens) is not int or not 0 <= self.tokens <= _MOST_TOKENS
        ):
            raise ValueError("a number of tokens is none")


@dataclass(frozen=True, slots=True)
class Origin:
    """Of a store, valid from birth (else ``ValueError``)."""

    checkpoint: str
    """The name of a folder, of a file, or on a hub."""
    commit: str | None = None
    """On the hub."""
    weighed_by: WeighedBy | None = None

    def __post_init__(self) -> None:
        _check_name(self.checkpoint)
        if self.commit is not None and (
            not isinstance(self.commit, str) or not _COMMIT.fullmatch(self.commit)
        ):
            raise ValueError("the commit is none")

    def to_dict(self) -> dict[str, Any]:
        """As a file has it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: object) -> Self:
        """Read what ``to_dict`` returned, trusting nothing in it."""
        taken = _taken(values, "checkpoint", "commit", "weighed_by")
        weighed_by = taken.pop("weighed_by")
        if weighed_by is not None:
            fields = _taken(weighed_by, "kind", "file_name", "sha256", "tokens")
            weighed_by = WeighedBy(**fields)
        return cls(**taken, weighed_by=weighed_by)


def _taken(values: object, *keys: str) -> dict[str, Any]:
    if not isinstance(values, Mapping) or values.keys() != set(keys):
        raise ValueError(f"it does not have exactly {', '.join(keys)}")
    return dict(values)


def _check_name(name: object) -> None:
    is_text = isinstance(name, str) and 0 < len(name) <= MOST_NAME
    if not is_text or shown_line(str(name)) != name:
        raise ValueError("a name is none")
