"""Shards that were found damaged: set aside, and remembered until their right bytes come again."""

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pi_cluster.cluster.store.manifest import is_store_name

log = logging.getLogger(__name__)

DAMAGED_SUFFIX = ".damaged"
_FOUND_BEFORE = "was found so before"


@dataclass(frozen=True, slots=True)
class DamagedShard:
    """A shard whose file does not hold the bytes that its digest stands for."""

    digest: str
    name: str
    """In its store; empty where it is not known."""
    problem: str
    """What is wrong with it, as a sentence that goes on after its name."""

    @property
    def label(self) -> str:
        """What people call it."""
        return self.name or f"shard {self.digest[:12]}"


class DamagedShards:
    """Files ``<sha256>.<name>.damaged`` beside the shards.

    A file that is named so is not held any more, also after a restart; its bytes stay for whoever
    wants to see what became of them, until the shard has come again or its room is needed. Where
    the disk takes no changes, the damage is known for as long as the process lives.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[str, DamagedShard] = {}
        for path in self.files():
            digest, _, name = path.stem.partition(".")
            name = name if is_store_name(name) else ""
            self._known[digest] = DamagedShard(digest, name, _FOUND_BEFORE)

    def __iter__(self) -> Iterator[DamagedShard]:
        return iter(tuple(self._known.values()))

    def __contains__(self, digest: str) -> bool:
        return digest in self._known

    def __getitem__(self, digest: str) -> DamagedShard:
        return self._known[digest]

    def add(self, damaged: DamagedShard, path: Path) -> None:
        """Set the file at ``path`` aside; from now on it is known to be damaged."""
        self._known[damaged.digest] = damaged
        name = damaged.name if is_store_name(damaged.name) else ""
        aside = f"{damaged.digest}.{name}" if name else damaged.digest
        try:
            path.replace(self._folder / (aside + DAMAGED_SUFFIX))
        except FileNotFoundError:
            return
        except OSError as error:
            log.warning("%s cannot be set aside: %s", path.name, error)

    def forget(self, digest: str) -> None:
        """The right bytes have come: remove what is left of the wrong ones."""
        self._known.pop(digest, None)
        for path in self._folder.glob(f"{digest}*{DAMAGED_SUFFIX}"):
            with contextlib.suppress(OSError):
                path.unlink()

    def files(self) -> list[Path]:
        """What is set aside; nothing where the folder is missing or cannot be read."""
        with contextlib.suppress(OSError):
            return list(self._folder.glob("*" + DAMAGED_SUFFIX))
        return []
