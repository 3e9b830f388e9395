"""What an unfinished store remembers, so that sharding goes on where it was interrupted.

``journal.json`` stands in the folder while sharding is under way: which checkpoint, and each file
that is done. ``source.json`` stays in the finished store, so that a rerun knows it as its own; it
is not part of the manifest, because equal weights must make equal stores wherever they came from.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pi_cluster.cluster.atomic_file import write_bytes
from pi_cluster.cluster.errors import StoreError
from pi_cluster.cluster.store.manifest import MAX_FILES, MAX_MANIFEST_BYTES, ShardFile
from pi_cluster.cluster.store.store import JOURNAL_NAME

SOURCE_NAME = "source.json"


@dataclass(frozen=True, slots=True)
class Journal:
    """Files that are done; ``source`` stands for the checkpoint, weights and store format."""

    source: str
    files: tuple[ShardFile, ...]

    def write(self, folder: Path) -> None:
        """Replace the journal on disk."""
        values = {"source": self.source, "files": [asdict(file) for file in self.files]}
        write_bytes(folder / JOURNAL_NAME, json.dumps(values, indent=1).encode())


def read_journal(folder: Path) -> Journal | None:
    """Read the journal; None if there is none that makes sense, which means to start over."""
    values = _read(folder / JOURNAL_NAME)
    files = values.get("files")
    if not isinstance(values.get("source"), str) or not isinstance(files, list):
        return None
    try:
        return Journal(values["source"], tuple(ShardFile(**file) for file in files[:MAX_FILES]))
    except (TypeError, StoreError):
        return None


def read_source(folder: Path) -> str | None:
    """Which source a finished store came from, if it says so."""
    source = _read(folder / SOURCE_NAME).get("source")
    return source if isinstance(source, str) else None


def write_source(folder: Path, source: str) -> None:
    """Remember which source a store came from."""
    write_bytes(folder / SOURCE_NAME, json.dumps({"source": source}).encode())


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            values = json.loads(file.read(MAX_MANIFEST_BYTES))
    except (OSError, ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}
