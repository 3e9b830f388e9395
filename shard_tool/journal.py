"""What an unfinished store remembers, so that sharding goes on where it was interrupted.

``journal.json`` stands in the folder while sharding is under way: which checkpoint, and each file
that is done. ``source.json`` stays in the finished store, so that a rerun knows it as its own, and
people what it was made from; it is not part of the manifest, because equal weights must make equal
stores wherever they came from.
"""

import contextlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pi_cluster.cluster.errors import StateError, SystemFailure
from pi_cluster.cluster.json_file import JsonFile, Parsed
from pi_cluster.cluster.store.manifest import MAX_FILES, MAX_MANIFEST_BYTES, ShardFile
from pi_cluster.cluster.store.store import JOURNAL_NAME
from pi_cluster.shard_tool.origin import Origin

SOURCE_NAME = "source.json"


@dataclass(frozen=True, slots=True)
class Journal:
    """Files that are done; ``source`` stands for the checkpoint, weights and store format."""

    source: str
    files: tuple[ShardFile, ...]

    def write(self, folder: Path) -> None:
        """Replace the journal on disk."""
        values = {"source": self.source, "files": [asdict(file) for file in self.files]}
        _file(folder, JOURNAL_NAME).write(values)


def read_journal(folder: Path) -> Journal | None:
    """Read the journal; None if there is none that makes sense, which means to start over."""
    return _read(_file(folder, JOURNAL_NAME), _journal)


def read_source(folder: Path) -> str | None:
    """Which source a finished store came from, if it says so."""
    return _read(_file(folder, SOURCE_NAME), _source)


def read_origin(folder: Path) -> Origin | None:
    """What a finished store was made from, if it says so."""
    return _read(_file(folder, SOURCE_NAME), lambda values: Origin.from_dict(values["origin"]))


def write_source(folder: Path, source: str, origin: Origin) -> None:
    """Remember which source a store came from."""
    _file(folder, SOURCE_NAME).write({"source": source, "origin": origin.to_dict()})


def _file(folder: Path, name: str) -> JsonFile:
    return JsonFile(folder / name, "nothing: sharding begins anew", most_bytes=MAX_MANIFEST_BYTES)


def _read(file: JsonFile, parse: Callable[[Any], Parsed]) -> Parsed | None:
    """None too for what cannot be read: it saves work, and is needed for nothing else."""
    with contextlib.suppress(StateError, SystemFailure):
        return file.read(parse)
    return None


def _source(values: Any) -> str:
    if not isinstance(values["source"], str):
        raise TypeError("source")
    return values["source"]


def _journal(values: Any) -> Journal:
    files = values["files"]
    if not isinstance(files, list):
        raise TypeError("files")
    return Journal(_source(values), tuple(ShardFile(**file) for file in files[:MAX_FILES]))
