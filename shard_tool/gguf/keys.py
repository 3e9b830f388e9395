"""The keys of a GGUF, each asked for by the type that it must have; errors name file and key."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from pi_cluster.cluster.errors import CheckpointError
from pi_cluster.transformer.config_faults import as_json

_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of the file ``path``. A key that is not there gives None."""

    path: Path
    values: Mapping[str, Any]

    def text(self, key: str) -> str | None:
        """A text."""
        return self._of_type(key, str, "a text")

    def flag(self, key: str) -> bool | None:
        """True or false."""
        return self._of_type(key, bool, "true or false")

    def whole(self, key: str) -> int | None:
        """A whole number."""
        return self._of_type(key, int, "a whole number")

    def texts(self, key: str) -> list[str] | None:
        """A list of texts."""
        return self._of_type(key, list, "a list of texts")

    def numbers(self, key: str) -> NDArray[Any] | None:
        """A list of finite numbers."""
        numbers = self._of_type(key, np.ndarray, "a list of numbers")
        if numbers is not None and not np.isfinite(numbers).all():
            raise CheckpointError(f"{key} of {self.path} has a number that is not finite")
        return numbers

    def _of_type(self, key: str, type_: type[_Value], name: str) -> _Value | None:
        value = self.values.get(key)
        if value is None or type(value) is type_:  # True is a whole number to isinstance
            return value
        shown = value.tolist() if isinstance(value, np.ndarray) else value
        raise CheckpointError(
            f"{key} of {self.path} is {as_json(shown)}; it must be {name}. Fetch another GGUF of "
            "the same model"
        )
