"""The models that were pulled: a folder each, below this user's data folder.

    models/ORG--REPO/            ORG--REPO@REVISION, ORG--REPO=Q4_K_M
        model.json               the name, the commit, and what was fetched of it
        checkpoint-CONTENT/      the files as the hub has them, while they are needed
        store-CONTENT-FORMATS/   the store that was made of them

All clusters of this user share them. CONTENT stands for the files that were chosen: a newer commit
may have the same. What is replaced goes only once the new store is whole.
"""

import fcntl
import hashlib
import json
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from pi_cluster.cluster import settings
from pi_cluster.cluster.advice import line
from pi_cluster.cluster.errors import HubError, StateError, StoreError, VersionError
from pi_cluster.cluster.json_file import JsonFile
from pi_cluster.cluster.store.store import JOURNAL_NAME, Store
from pi_cluster.deploy.models.fetching import is_there, lacking_bytes
from pi_cluster.deploy.models.model_name import ModelName, is_short_for
from pi_cluster.shard_tool.origin import Origin
from pi_cluster.shard_tool.sources.wanted_files import ListedFile
from pi_cluster.transformer.formats import WeightFormats

_RECORD_NAME = "model.json"
_VERSION = 1
_MOST_FILES = 2_000
_CONTENT = re.compile(r"[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class PulledModel:
    """A model of which something was fetched, as its record has it."""

    name: ModelName
    commit: str
    content: str
    files: tuple[ListedFile, ...]
    weights: str
    outer_weights: str

    @property
    def folder(self) -> Path:
        """Where all of it lies."""
        return models_folder() / self.name.folder_name

    @property
    def checkpoint(self) -> Path:
        """The folder of its files, whether they are still there or not."""
        return self.folder / f"checkpoint-{self.content}"

    @property
    def source(self) -> Path:
        """What is sharded: the folder, or the GGUF in it (of several parts the first)."""
        if self.name.quantisation:
            return self.checkpoint / self.files[0].path
        return self.checkpoint

    @property
    def store_path(self) -> Path:
        """Its store, whether it is whole or not."""
        formats = f"{self.weights}-{self.outer_weights}"
        return self.folder / f"store-{self.content}-{formats}"

    @property
    def formats(self) -> WeightFormats:
        """Those of its store."""
        return WeightFormats(self.weights, self.outer_weights)

    @property
    def origin(self) -> Origin:
        """What its store tells of itself."""
        return Origin(str(self.name), self.commit)

    @property
    def lacking_bytes(self) -> int:
        """What of its files is not there."""
        return lacking_bytes(self.checkpoint, self.files)

    @property
    def has_checkpoint(self) -> bool:
        """Whether all of its files are there."""
        return all(is_there(self.checkpoint, file) for file in self.files)

    def store(self) -> Store | None:
        """Its store, once that is whole."""
        return finished_store(self.store_path)

    @property
    def size_bytes(self) -> int:
        """What it takes of the disk."""
        return folder_bytes(self.folder)

    def write(self) -> None:
        """Keep the record, and make its folders."""
        self.checkpoint.mkdir(parents=True, exist_ok=True)
        values = {
            "name": str(self.name),
            "commit": self.commit,
            "content": self.content,
            "weights": self.weights,
            "outer_weights": self.outer_weights,
            "files": [asdict(file) for file in self.files],
        }
        _file(self.folder).write(values)

    @classmethod
    def of(cls, values: dict[str, Any]) -> Self:
        """From values of a record. Raises ``HubError``, ``ValueError`` or the like for others."""
        formats = WeightFormats.choose(values["weights"], values["outer_weights"])
        files = tuple(ListedFile(**file) for file in values["files"][:_MOST_FILES])
        for file in files:
            if Path(file.path).is_absolute() or ".." in Path(file.path).parts:
                raise ValueError(f"it names a file {file.path!r}")
        name, content = ModelName.parse(values["name"]), values["content"]
        if not _CONTENT.fullmatch(content):
            raise ValueError(f"its content is {content!r:.50}")
        commit = str(values["commit"])[:40]
        return cls(name, commit, content, files, formats.layers, formats.outer)


def content_of(files: Sequence[ListedFile]) -> str:
    """What stands for files of these names and digests."""
    facts = sorted((file.path, file.digest) for file in files)
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]


def models_folder() -> Path:
    """Where all of them lie."""
    return settings.folders().data / "models"


def find_record(name: ModelName) -> PulledModel | None:
    """The record of exactly this name. Raises ``StateError`` if it is torn."""
    return _file(models_folder() / name.folder_name).read(PulledModel.of)


def pulled_models() -> tuple[list[PulledModel], list[str]]:
    """All of them by name, and a sentence on each that cannot be read."""
    found, problems = [], []
    folder = models_folder()
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        try:
            record = _file(path).read(PulledModel.of)
        except (StateError, VersionError) as error:
            problems.append(str(error))
            continue
        if record and record.folder == path:
            found.append(record)
    return found, problems


def find_pulled(text: str) -> PulledModel | None:
    """The pulled model that ``text`` means, by its whole name or so much of it as tells it.

    None where there is none. Raises ``HubError`` where several are meant.
    """
    pulled, _ = pulled_models()
    found = [one for one in pulled if is_short_for(text, one.name)]
    if not found:
        with suppress(HubError):
            asked = ModelName.parse(text)
            found = [one for one in pulled if asked.means(one.name)]
            found = [one for one in found if str(one.name) == str(asked)] or found
    if len(found) > 1:
        names = " or ".join(str(one.name) for one in found)
        raise HubError(f"{text!r} may be {names}: say which")
    return found[0] if found else None


def finished_store(path: Path) -> Store | None:
    """The store at ``path``, if sharding has ended there and no file of it lacks since.

    Raises ``VersionError`` for one that is too new.
    """
    if (path / JOURNAL_NAME).exists():
        return None
    with suppress(StoreError):
        store = Store(path)
        there = {one.name: one.stat().st_size for one in path.iterdir() if one.is_file()}
        if all(there.get(file.name) == file.size_bytes for file in store.manifest.files):
            return store
    return None


@contextmanager
def changing(name: ModelName) -> Iterator[None]:
    """The model's folder, held alone while it is pulled or removed."""
    folder = models_folder() / name.folder_name
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StateError(f"{name} is being pulled or removed already: wait for that") from None
        yield


def remove_others(model: PulledModel, keep: Sequence[Path]) -> int:
    """Remove from the model's folder all checkpoints and stores but these; returns their bytes."""
    freed = 0
    for path in model.folder.iterdir():
        if path.name.startswith(("checkpoint-", "store-")) and path not in keep:
            freed += folder_bytes(path)
            shutil.rmtree(path)
    return freed


def remove(model: PulledModel) -> int:
    """Remove all of it; returns the bytes that it took."""
    freed = folder_bytes(model.folder)
    _file(model.folder).remove()  # first, so that what is left is no model
    shutil.rmtree(model.folder)
    return freed


def folder_bytes(folder: Path) -> int:
    """Bytes of all files in a folder and those below it."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())


def _file(folder: Path) -> JsonFile:
    return JsonFile(
        folder / _RECORD_NAME,
        f"remove that folder, then fetch the model again with `{line('pull', 'ORG/REPO')}`",
        _VERSION,
    )
