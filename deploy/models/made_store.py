"""Stores that `up` and `plan` made of checkpoints on the way: in this user's cache, a folder each.

    stores/LABEL+DIGEST/    LABEL is the checkpoint's name, DIGEST stands for its files

The folder's name is the store's. Nothing that is pulled can be called so, for the ``+``.
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from pi_cluster.cluster import settings
from pi_cluster.cluster.errors import StateError
from pi_cluster.cluster.store.manifest import STORE_VERSION
from pi_cluster.cluster.store.store import Store
from pi_cluster.deploy.models.pulled import finished_store, folder_bytes
from pi_cluster.shard_tool.gguf.file_names import SUFFIX, GgufName, gguf_name
from pi_cluster.transformer.formats import WeightFormats

FORMATS = WeightFormats()
"""Those of every such store."""

_READ = (".json", ".safetensors", ".model", ".jinja")
_INNER_TEMPLATES = "additional_chat_templates/*"
_NAME = re.compile(r"[A-Za-z0-9._-]{0,60}\+[0-9a-f]{8}")


@dataclass(frozen=True, slots=True)
class MadeStore:
    """A store that was made on the way, or begun."""

    path: Path

    @property
    def name(self) -> str:
        """What it is called."""
        return self.path.name

    @property
    def size_bytes(self) -> int:
        """What it takes of the disk."""
        return folder_bytes(self.path)

    def store(self) -> Store | None:
        """It, once it is whole. Raises ``VersionError`` for one that is too new."""
        return finished_store(self.path)

    def remove(self) -> int:
        """Remove it; returns the bytes that it took. Raises ``StateError`` while it is made."""
        descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            freed = self.size_bytes
            shutil.rmtree(self.path)
        except BlockingIOError:
            raise StateError(f"{self.name} is being made just now: wait for that") from None
        finally:
            os.close(descriptor)
        return freed


def stores_folder() -> Path:
    """Where all of them lie."""
    return settings.folders().cache / "stores"


def made_stores() -> list[MadeStore]:
    """All of them by name."""
    folder = stores_folder()
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    return [MadeStore(path) for path in found if path.is_dir() and _NAME.fullmatch(path.name)]


def find_made(name: str) -> MadeStore | None:
    """The one of this name."""
    return next((made for made in made_stores() if made.name == name), None)


def made_of(checkpoint: Path) -> Path:
    """Where the store of a checkpoint lies, or will: elsewhere once a file of that changed."""
    label = checkpoint.name
    if checkpoint.is_dir():
        there = [*checkpoint.iterdir(), *checkpoint.glob(_INNER_TEMPLATES)]
        read = [one for one in there if one.suffix in _READ or ".model" in one.name]
    else:
        named = gguf_name(label)
        beside = checkpoint.parent.iterdir() if named and named.parts > 1 else [checkpoint]
        read = [one for one in beside if _is_part(gguf_name(one.name), named)]
        label = named.whole if named else label.removesuffix(SUFFIX)
    stats = sorted(
        (one.name, one.stat().st_size, one.stat().st_mtime_ns) for one in read if one.is_file()
    )
    facts = json.dumps([STORE_VERSION, str(FORMATS), stats])
    label = re.sub(r"[^A-Za-z0-9._-]", "_", label)[:60]
    digest = hashlib.sha256(facts.encode()).hexdigest()[:8]
    return stores_folder() / f"{label}+{digest}"


def _is_part(one: GgufName | None, of: GgufName | None) -> bool:
    return (one and one.whole, one and one.parts) == (of and of.whole, of and of.parts)
