"""Small JSON files of our own: read with suspicion, written whole.

What we wrote may be torn by a failing card, come from a newer pi-cluster, or be somebody else's by
now. For each file one ``JsonFile`` says what is known of it beforehand.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pi_cluster.cluster.atomic_file import write_bytes
from pi_cluster.cluster.errors import ClusterError, StateError, VersionError
from pi_cluster.cluster.small_file import read_small
from pi_cluster.cluster.system_failure import system_failure

Parsed = TypeVar("Parsed")

_MAX_BYTES = 1 << 20
_TORN = (ClusterError, ArithmeticError, AttributeError, OSError, TypeError, ValueError)


@dataclass(frozen=True, slots=True)
class JsonFile:
    """A file, and what to do where it is torn."""

    path: Path
    next_step: str
    """For people: what to do with a torn one."""
    version: int | None = None
    """Stands in the object; a newer one is refused. None where the format has none."""
    is_private: bool = False
    """Whether it is written for its owner alone."""
    most_bytes: int = _MAX_BYTES
    problem: str = "cannot be read"
    """What is said of a torn one."""

    def read(
        self,
        parse: Callable[[Any], Parsed],
        read_bytes: Callable[[Path, int], bytes] = read_small,
    ) -> Parsed | None:
        """What ``parse`` makes of the values; None where there is no file.

        Whatever ``parse`` stumbles over makes the file a torn one. Raises ``StateError`` for that,
        ``VersionError`` for a newer one, ``SystemFailure`` when the system does not let us read.
        """
        try:
            data = read_bytes(self.path, self.most_bytes)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise system_failure(error, what=self.path) from None
        except ValueError as error:
            raise self._torn(str(error)) from None
        try:
            values = json.loads(data)
            self._check_version(values)
            return parse(values)
        except VersionError:
            raise
        except KeyError as error:
            raise self._torn(f"it lacks {error}") from None
        except _TORN as error:
            raise self._torn(str(error)) from None
        except RecursionError:
            raise self._torn("it is nested too deeply") from None

    def write(self, values: Any) -> None:
        """Replace the file. Raises ``StoreError`` as ``AtomicFile`` does."""
        if self.version is not None:
            values = {"version": self.version} | values
        write_bytes(self.path, json.dumps(values, indent=1).encode() + b"\n", self.is_private)

    def remove(self) -> None:
        """Have no such file."""
        self.path.unlink(missing_ok=True)

    def _check_version(self, values: Any) -> None:
        if self.version is not None:
            found = values["version"]
            if type(found) is not int or found < 1:
                raise ValueError(f"its version is {found!r:.50}")
            if found > self.version:
                raise VersionError(
                    f"{self.path} was written by a newer pi-cluster: update this one"
                )

    def _torn(self, reason: str) -> StateError:
        return StateError(f"{self.path} {self.problem} ({reason}): {self.next_step}")
