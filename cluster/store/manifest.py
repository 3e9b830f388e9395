"""The manifest of a store: its files, its model's shape, and the bounds of both."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from pi_cluster.cluster.errors import StoreError, VersionError
from pi_cluster.cluster.store.tensor_formats import StoreFormats

STORE_FORMAT = "pi-cluster-store"
STORE_VERSION = 2
_BEFORE_FORMATS = 1
OUTER_WEIGHTS = ("f32", "f16", "q8", "q4", "q4n")
"""Formats that weights in floats can be kept in."""
USUAL_WEIGHTS = "q4m"
"""A mixture of them for the layers (``transformer/mixtures.py``)."""
WEIGHTS = (USUAL_WEIGHTS, *OUTER_WEIGHTS)
"""What can be asked for the layers."""

EMBEDDING_NAME = "embedding.safetensors"
HEAD_NAME = "head.safetensors"
TOKENIZER_NAMES = (
    "tokenizer.model",
    "tokenizer_config.json",
    "chat_template.jinja",
    "added_tokens.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "tekken.json",
)

MAX_MANIFEST_BYTES = 2_000_000
MAX_FILES = 4_096
MAX_EOS_IDS = 64
MAX_CONFIG_KEYS = 64
MAX_FILE_BYTES = 2**50
_MAX_TOKEN_ID = 2**31 - 1
_LAYER_PATTERN = re.compile(r"layer-([0-9]{2,4})\.safetensors")
_TOKENIZER_NAME_PATTERN = re.compile(r"[A-Za-z0-9_.-]{1,100}")
_HASH_PATTERN = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class ShardFile:
    """One file of a store: a plain name from the fixed set, its size and its SHA-256."""

    name: str
    size_bytes: int
    sha256: str

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not is_store_name(self.name):
            raise _torn(f"it lists a file {_brief(self.name)}, which no store has")
        _check_int("size_bytes of " + self.name, self.size_bytes, MAX_FILE_BYTES)
        if not isinstance(self.sha256, str) or not _HASH_PATTERN.fullmatch(self.sha256):
            raise _torn(f"sha256 of {self.name} is {_brief(self.sha256)}, not 64 hex digits")


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a store holds, valid from birth (else ``StoreError``).

    ``weights`` is the format or mixture asked for the layers' matrices, ``outer_weights`` that for
    the embedding and the head; ``formats`` says what each tensor is in. It is None in a store of
    version 1, where one follows from the other. ``config`` is the model's shape as a plain
    mapping; this package passes it on unread. ``bos_id`` is None if nothing begins a text.
    ``tokenizer_name`` is what the checkpoint called its SentencePiece file: Mistral's chat format
    depends on whether that was ``tokenizer.model.v1``, ``.v2`` or ``.v3``.
    """

    weights: str
    outer_weights: str
    config: Mapping[str, Any]
    bos_id: int | None
    eos_ids: tuple[int, ...]
    files: tuple[ShardFile, ...]
    tokenizer_name: str | None = None
    formats: StoreFormats | None = None

    def __post_init__(self) -> None:
        _check_weights(self.weights, WEIGHTS)
        _check_weights(self.outer_weights, OUTER_WEIGHTS)
        _check_config(self.config)
        if self.bos_id is not None:
            _check_int("bos_id", self.bos_id, _MAX_TOKEN_ID)
        if len(self.eos_ids) > MAX_EOS_IDS:
            raise _torn(f"it has {len(self.eos_ids)} eos_ids; at most {MAX_EOS_IDS} make sense")
        for eos_id in self.eos_ids:
            _check_int("eos_ids", eos_id, _MAX_TOKEN_ID)
        name = self.tokenizer_name
        if name is not None and (
            not isinstance(name, str) or not _TOKENIZER_NAME_PATTERN.fullmatch(name)
        ):
            raise _torn(f"tokenizer_name is {_brief(name)}")
        names = [file.name for file in self.files]
        if len(names) > MAX_FILES:
            raise _torn(f"it lists {len(names)} files; at most {MAX_FILES} are possible")
        if len(set(names)) < len(names):
            raise _torn("it lists a file twice")
        needed = [EMBEDDING_NAME, HEAD_NAME, *map(layer_file_name, range(max(self.n_layers, 1)))]
        for missing in (name for name in needed if name not in set(names)):
            raise _torn(f"it does not list {missing}")
        if self.formats and len(self.formats.layers) != self.n_layers:
            raise _torn(f"it has formats of {len(self.formats.layers)} layers of {self.n_layers}")

    @property
    def formats_of_matrices(self) -> tuple[str, ...]:
        """What the layers' matrices are in, the most frequent first."""
        return self.formats.of_matrices if self.formats else (self.weights,)

    @property
    def n_layers(self) -> int:
        """Number of layer files."""
        return sum(_LAYER_PATTERN.fullmatch(file.name) is not None for file in self.files)

    @property
    def size_bytes(self) -> int:
        """Bytes of all files, the manifest itself not counted."""
        return sum(file.size_bytes for file in self.files)

    @property
    def embedding_file(self) -> ShardFile:
        """The file with the token embedding."""
        return self.file(EMBEDDING_NAME)

    @property
    def head_file(self) -> ShardFile:
        """The file with the final norm and the output matrix."""
        return self.file(HEAD_NAME)

    @property
    def tokenizer_files(self) -> tuple[ShardFile, ...]:
        """The tokenizer's files, as many as the checkpoint had."""
        return tuple(file for file in self.files if file.name in TOKENIZER_NAMES)

    def layer_file(self, layer: int) -> ShardFile:
        """The file of one layer, counted from 0; raises ``StoreError`` if there is none."""
        return self.file(layer_file_name(layer))

    def stage_files(self, start: int, stop: int) -> list[ShardFile]:
        """The files that a stage of layers ``start`` up to ``stop`` maps."""
        files = [self.layer_file(layer) for layer in range(start, stop)]
        if start == 0:
            files.insert(0, self.embedding_file)
        if stop == self.n_layers:
            files.append(self.head_file)
        return files

    def file(self, name: str) -> ShardFile:
        """Look up a file by its name; raises ``StoreError`` if it is not listed."""
        for file in self.files:
            if file.name == name:
                return file
        raise StoreError(f"the store has no file {name!r}; it has {self.n_layers} layers")

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON: equal for stores of equal content."""
        canonical = json.dumps(self._to_dict(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    def to_json(self) -> str:
        """Return the text of ``manifest.json``."""
        return json.dumps(self._to_dict(), indent=1) + "\n"

    def _to_dict(self) -> dict[str, Any]:
        formats = {"formats": self.formats.to_dict()} if self.formats else {}
        return formats | {
            "format": STORE_FORMAT,
            "version": STORE_VERSION if self.formats else _BEFORE_FORMATS,
            "weights": self.weights,
            "outer_weights": self.outer_weights,
            "config": dict(self.config),
            "bos_id": self.bos_id,
            "eos_ids": list(self.eos_ids),
            "tokenizer_name": self.tokenizer_name,
            "files": [
                {"name": file.name, "size_bytes": file.size_bytes, "sha256": file.sha256}
                for file in self.files
            ],
        }

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what ``to_json`` returned, trusting nothing in it.

        Raises ``StoreError`` if it is torn, ``VersionError`` if it is of a newer format.
        """
        values = _parse_object(text)
        if values.pop("format", None) != STORE_FORMAT:
            raise _torn(f"its format is not {STORE_FORMAT!r}")
        version = values.pop("version", None)
        if type(version) is not int or version < 1:
            raise _torn(f"its version is {_brief(version)}")
        if version > STORE_VERSION:
            raise VersionError(
                f"this store has format version {version}, and this pi-cluster knows up to "
                f"{STORE_VERSION}: update pi-cluster"
            )
        eos_ids, files = values.pop("eos_ids", None), values.pop("files", None)
        if not isinstance(eos_ids, list) or not isinstance(files, list):
            raise _torn("it has no lists of eos_ids and files")
        if len(files) > MAX_FILES:
            raise _torn(f"it lists {len(files)} files; at most {MAX_FILES} are possible")
        wanted = {"weights", "outer_weights", "config", "bos_id", "tokenizer_name"}
        wanted |= {"formats"} if version > _BEFORE_FORMATS else set()
        if values.keys() != wanted:
            raise _torn(f"its keys do not match at {sorted(values.keys() ^ wanted)[:5]}")
        formats = values.pop("formats", None)
        return cls(
            **values,
            eos_ids=tuple(eos_ids),
            files=tuple(map(_shard_file, files)),
            formats=_formats(formats) if version > _BEFORE_FORMATS else None,
        )


def layer_file_name(layer: int) -> str:
    """``layer-00.safetensors`` for layer 0."""
    return f"layer-{layer:02d}.safetensors"


def is_store_name(name: str) -> bool:
    """Whether a store may list a file of this name."""
    match = _LAYER_PATTERN.fullmatch(name)
    if match:
        return layer_file_name(int(match[1])) == name
    return name in (EMBEDDING_NAME, HEAD_NAME, *TOKENIZER_NAMES)


def _parse_object(text: str) -> dict[str, Any]:
    if len(text) > MAX_MANIFEST_BYTES:
        raise _torn(f"it is longer than {MAX_MANIFEST_BYTES} characters")
    try:
        values = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise _torn(f"it is not JSON: {error}") from error
    if not isinstance(values, dict):
        raise _torn("it is not an object")
    return values


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def _shard_file(values: object) -> ShardFile:
    if not isinstance(values, dict) or values.keys() != {"name", "size_bytes", "sha256"}:
        raise _torn(f"it lists a file as {_brief(values)}")
    return ShardFile(**values)


def _check_weights(weights: object, known: Sequence[str]) -> None:
    if not isinstance(weights, str):
        raise _torn(f"weights is {_brief(weights)}")
    if weights not in known:
        raise VersionError(
            f"this store has weights in the format {_brief(weights)}, and this pi-cluster knows "
            f"{', '.join(known)}: update pi-cluster"
        )


def _formats(values: object) -> StoreFormats:
    try:
        return StoreFormats.from_dict(values)
    except StoreError as error:
        raise _torn(str(error)) from error


def _check_config(config: object) -> None:
    if not isinstance(config, Mapping) or len(config) > MAX_CONFIG_KEYS:
        raise _torn(f"config is {_brief(config)}")
    for name in config:
        if not isinstance(name, str):
            raise _torn(f"config has {_brief(name)}")


def _check_int(name: str, value: object, limit: int) -> None:
    if type(value) is not int or not 0 <= value <= limit:
        raise _torn(f"{name} is {_brief(value)}; it must be from 0 to {limit}")


def _brief(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 100 else text[:97] + "..."


def _torn(problem: str) -> StoreError:
    return StoreError(
        f"the manifest is torn, {problem}: run `pi-cluster shard CHECKPOINT --out STORE` again"
    )
