"""What a store was made from, as it tells people. Nothing that is computed depends on it."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from pi_cluster.cluster.shown import shown_line

MOST_NAME = 200
"""Characters of a name."""
_COMMIT = re.compile(r"[0-9a-f]{7,64}")
_HASH = re.compile(r"[0-9a-f]{64}")
_MOST_TOKENS = 2**40


@dataclass(frozen=True, slots=True)
class Calibration:
    """What told which weights matter, valid from birth (else ``ValueError``)."""

    file: str
    """Its name."""
    sha256: str
    is_imatrix: bool
    """Else a text, which the checkpoint itself read."""
    tokens: int
    """As many were read."""

    def __post_init__(self) -> None:
        _check_name(self.file)
        if not isinstance(self.sha256, str) or not _HASH.fullmatch(self.sha256):
            raise ValueError("the calibration's SHA-256 is not 64 hex digits")
        if type(self.is_imatrix) is not bool:
            raise ValueError("the calibration is of an unknown kind")
        if type(self.tokens) is not int or not 0 <= self.tokens <= _MOST_TOKENS:
            raise ValueError("the calibration has no number of tokens")


@dataclass(frozen=True, slots=True)
class Origin:
    """Of a store, valid from birth (else ``ValueError``)."""

    checkpoint: str
    """The name of a folder, of a file, or on a hub."""
    commit: str | None = None
    """On the hub."""
    calibration: Calibration | None = None

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
        taken = _taken(values, "checkpoint", "commit", "calibration")
        calibration = taken.pop("calibration")
        if calibration is not None:
            fields = _taken(calibration, "file", "sha256", "is_imatrix", "tokens")
            calibration = Calibration(**fields)
        return cls(**taken, calibration=calibration)


def _taken(values: object, *keys: str) -> dict[str, Any]:
    if not isinstance(values, Mapping) or values.keys() != set(keys):
        raise ValueError(f"it does not have exactly {', '.join(keys)}")
    return dict(values)


def _check_name(name: object) -> None:
    is_text = isinstance(name, str) and 0 < len(name) <= MOST_NAME
    if not is_text or shown_line(str(name)) != name:
        raise ValueError("a name is none")
