"""A store: a checkpoint cut into one file per layer, with a manifest that vouches for each.

    manifest.json            what the store holds, with the size and SHA-256 of every other file
    tokenizer.model          SentencePiece, if the checkpoint has one
    tokenizer_config.json    chat template and special tokens, if the checkpoint has one
    chat_template.jinja      the same template as newer checkpoints keep it, if there is one
    added_tokens.json, special_tokens_map.json, tokenizer.json
                             where tokenizer_config.json does not list the added tokens
    embedding.safetensors    tok_embeddings.weight
    layer-00.safetensors ... attention_norm.weight, attention.wq.weight, ... of one layer each
    head.safetensors         norm.weight, output.weight (where tied, a copy of the embedding)

Matrices are in the manifest's ``weights`` format, norm gains always in float32. The rows of wq
and wk are in the interleaved rotary order, wherever they came from.
"""

import hashlib
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pi_cluster.cluster.errors import StoreError, VersionError
from pi_cluster.cluster.small_file import read_small
from pi_cluster.cluster.store.manifest import MAX_MANIFEST_BYTES, Manifest, ShardFile

__all__ = ["Damage", "Manifest", "Progress", "ShardFile", "Store", "find_problem", "hash_file"]

MANIFEST_NAME = "manifest.json"
JOURNAL_NAME = "journal.json"

_HASH_BLOCK_BYTES = 1 << 20


class Progress(Protocol):
    """Told how far a long job over files has come; what it raises ends the job."""

    def __call__(self, done_bytes: int, total_bytes: int, file_name: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Damage:
    """One file of a store that is not what the manifest vouches for."""

    file_name: str
    problem: str
    command: str

    def __str__(self) -> str:
        return f"{self.file_name} {self.problem}; mend it with `{self.command}`"


class Store:
    """A finished store in a folder; opening it reads the manifest and nothing else.

    Raises ``StoreError`` if the folder, or the manifest in it, is missing or torn, and
    ``VersionError`` if a newer pi-cluster wrote it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.manifest = _read_manifest(path)

    @property
    def mending_command(self) -> str:
        """The command that writes damaged files again and keeps the others."""
        out = shlex.quote(str(self.path))
        formats = f"--weights {self.manifest.weights} --outer-weights {self.manifest.outer_weights}"
        return f"pi-cluster shard CHECKPOINT --out {out} {formats}"

    def path_of(self, file: ShardFile | str) -> Path:
        """Where a listed file lies; raises ``StoreError`` if it is not listed."""
        name = file if isinstance(file, str) else file.name
        return self.path / self.manifest.file(name).name

    def verify(self, progress: Progress | None = None) -> list[Damage]:
        """Read every file and return what is damaged, in the manifest's order."""
        total, done = self.manifest.size_bytes, 0
        found = []
        for file in self.manifest.files:
            problem = find_problem(self.path, file)
            if problem:
                found.append(Damage(file.name, problem, self.mending_command))
            done += file.size_bytes
            if progress:
                progress(done, total, file.name)
        return found


def hash_file(path: Path) -> str:
    """SHA-256 of a file in hexadecimal, read in blocks; raises ``StoreError``."""
    digest = hashlib.sha256()
    try:
        with path.open("rb", buffering=0) as file:
            while block := file.read(_HASH_BLOCK_BYTES):
                digest.update(block)
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}") from error
    return digest.hexdigest()


def find_problem(folder: Path, file: ShardFile) -> str | None:
    """Say how the file in ``folder`` differs from what is vouched for, or None."""
    path = folder / file.name
    try:
        size_bytes = path.stat().st_size
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    if size_bytes != file.size_bytes:
        return f"has {size_bytes} bytes instead of {file.size_bytes}"
    try:
        same = hash_file(path) == file.sha256
    except StoreError as error:
        return str(error)
    return None if same else "was changed: its SHA-256 differs from the manifest's"


def _read_manifest(folder: Path) -> Manifest:
    path = folder / MANIFEST_NAME
    try:
        text = read_small(path, MAX_MANIFEST_BYTES).decode()
    except FileNotFoundError:
        raise StoreError(_why_no_manifest(folder)) from None
    except (OSError, ValueError) as error:
        raise StoreError(f"cannot read {path}: {error}") from error
    try:
        return Manifest.from_json(text)
    except (StoreError, VersionError) as error:
        raise type(error)(f"{path}: {error}") from error


def _why_no_manifest(folder: Path) -> str:
    if not folder.is_dir():
        return (
            f"there is no store at {folder}: make one with `pi-cluster shard CHECKPOINT "
            f"--out {shlex.quote(str(folder))}`"
        )
    if (folder / JOURNAL_NAME).exists():
        return f"{folder}: sharding was interrupted: run the same `pi-cluster shard` again"
    return (
        f"{folder} is not a store, it has no {MANIFEST_NAME}: make one with "
        "`pi-cluster shard CHECKPOINT --out STORE`"
    )
