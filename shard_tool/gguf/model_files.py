"""The GGUF files that are one model: a single one, or parts ``NAME-00001-of-00003.gguf``.

llama.cpp cuts a large model between its tensors. The first part has all keys, each further one
``split.no`` and ``split.count`` at least.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pi_cluster.cluster.errors import CheckpointError
from pi_cluster.shard_tool.gguf.file_names import SUFFIX, part_name
from pi_cluster.shard_tool.gguf.header import Header, TensorPlace, read_header
from pi_cluster.shard_tool.gguf.keys import Keys
from pi_cluster.transformer.checkpoint_file import is_pointer, only_a_pointer

MAX_PARTS = 512  # each stays open, and a process may usually have 1024 files open
_IDENTITY = ("general.architecture", "general.name")
_MAX_NAMED = 6


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """All parts of a model: the keys of the first, and the file and place of each tensor."""

    paths: tuple[Path, ...]
    values: Mapping[str, Any]
    tensors: Mapping[str, tuple[Path, TensorPlace]]

    @property
    def path(self) -> Path:
        """The file that has the keys."""
        return self.paths[0]


def find_first(folder: Path) -> Path | None:
    """The model's first file in ``folder``, or None if there is no GGUF.

    Raises ``CheckpointError`` if there are several models.
    """
    names = sorted(path.name for path in folder.glob("*" + SUFFIX) if path.is_file())
    # Beside a model of text and images its encoder of images lies in a file of its own.
    models = [name for name in names if not name.startswith("mmproj")] or names
    first_of = {_stem(name): name for name in reversed(models)}
    if len(first_of) > 1:
        named = sorted(first_of.values())
        more = f" and {len(named) - _MAX_NAMED} more" if len(named) > _MAX_NAMED else ""
        raise CheckpointError(
            f"{folder} has several models in GGUF: name one, as in {folder / named[0]}. There are "
            f"{', '.join(named[:_MAX_NAMED])}{more}"
        )
    return folder / models[0] if models else None


def open_model(path: Path) -> ModelFiles:
    """Read the headers of the model that ``path``, any of its parts, belongs to.

    Raises ``CheckpointError`` for a part that is not there, torn, or another model's.
    """
    paths = _parts(path)
    headers = [_header(part) for part in paths]
    for number, header in enumerate(headers):
        _check_part(header, number, headers[0], len(headers))
    tensors: dict[str, tuple[Path, TensorPlace]] = {}
    for header in headers:
        for name, place in header.tensors.items():
            if name in tensors:
                raise CheckpointError(
                    f"tensor {name!r} is both in {tensors[name][0]} and in {header.path}: they are "
                    "of two models. Fetch all parts of one"
                )
            tensors[name] = (header.path, place)
    expected = Keys(paths[0], headers[0].values).whole("split.tensors.count")
    if len(headers) > 1 and expected not in (None, len(tensors)):
        raise CheckpointError(
            f"the parts of {paths[0]} have {len(tensors)} tensors, and by its split.tensors.count "
            f"the model has {expected}: they are of two models. Fetch all parts of one"
        )
    return ModelFiles(tuple(paths), headers[0].values, tensors)


def _stem(name: str) -> str:
    part = part_name(name)
    return f"{part.stem} of {part.count}" if part else name


def _parts(path: Path) -> list[Path]:
    part = part_name(path.name)
    if part is None:
        return [path]
    count = part.count
    if not 1 <= part.number <= count or count > MAX_PARTS:
        raise CheckpointError(
            f"{path} is named as part {part.number} of {count}; there can be 1 to {MAX_PARTS}, and "
            "no part beyond the last. Give the file the name under which it was published"
        )
    names = [f"{part.stem}-{i:05}-of-{count:05}{path.suffix}" for i in range(1, count + 1)]
    paths = [path.with_name(name) for name in names]
    absent = [name for name in names if not path.with_name(name).is_file()]
    if absent:
        more = f" and {len(absent) - 1} more" if len(absent) > 1 else ""
        raise CheckpointError(
            f"of {count} parts of the model, {path.parent} lacks {absent[0]}{more}: fetch "
            f"{'them' if more else 'it'} into the same folder"
        )
    return paths


def _header(path: Path) -> Header:
    try:
        if is_pointer(path):
            raise CheckpointError(only_a_pointer(path))
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror}. Fetch it") from error
    return read_header(path)


def _check_part(header: Header, number: int, first: Header, count: int) -> None:
    keys, first_keys = Keys(header.path, header.values), Keys(first.path, first.values)
    own_number, own_count = keys.whole("split.no") or 0, keys.whole("split.count") or 1
    if (own_number, own_count) != (number, count):
        named = f"part {number + 1} of {count}" if count > 1 else "a whole model"
        actual = f"part {own_number + 1} of {own_count}" if own_count > 1 else "a whole model"
        raise CheckpointError(
            f"{header.path} is named as {named}, and by its keys it is {actual}. Give each part "
            "the name under which it was published, as NAME-00001-of-00003.gguf"
        )
    for key in _IDENTITY:
        own, others = keys.text(key), first_keys.text(key)
        if own is not None and own != others:
            raise CheckpointError(
                f"{header.path} is of another model than {first.path}: its {key} is {own!r}, not "
                f"{others!r}. Fetch all parts of one"
            )
