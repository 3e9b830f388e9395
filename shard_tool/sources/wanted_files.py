"""Which files of a repository make the model: decided by their names, before any is fetched.

Weights come as safetensors, in Hugging Face's form or Mistral's own, or as GGUF. Pickles, adapters
and what other programs need are never fetched. What is chosen has a plain name, whatever is listed.
"""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from pi_cluster.cluster.errors import CheckpointError
from pi_cluster.shard_tool.gguf.file_names import (
    DEFAULT_QUANTISATION,
    GgufName,
    gguf_name,
)
from pi_cluster.shard_tool.sources import consolidated, hugging_face
from pi_cluster.shard_tool.sources.no_weights import ADAPTER_CONFIG_NAME
from pi_cluster.transformer.families import config_json, params_json

MAX_SMALL_BYTES = 100_000_000
"""Of a file beside the weights: the tokenizer.json of a large vocabulary has 35 MB."""
MAX_PARTS = 512

_CONFIGURATIONS = (config_json.FILE_NAME, params_json.FILE_NAME, "generation_config.json")
_TEXT = re.compile(
    r"tokenizer\.json|tokenizer\.model(\.v\d{1,3})?|tekken\.json|tokenizer_config\.json"
    r"|special_tokens_map\.json|added_tokens\.json|chat_template\.(jinja|json)"
    r"|additional_chat_templates/default\.jinja"
)
_CONSOLIDATED = re.compile(r"consolidated(\.\d{1,3})?(-\d{5}-of-\d{5})?\.safetensors")
_OF_INDEX = re.compile(r"(?!consolidated|adapter_model)[A-Za-z0-9_][A-Za-z0-9_.-]*\.safetensors")
_PLAIN_PATH = re.compile(
    r"(?:[A-Za-z0-9_][A-Za-z0-9_. +()\[\]-]{0,200}/){0,4}[A-Za-z0-9_][^/\\\0-\x1f]{0,200}"
)
_QUANTISED = ("quantize_config.json", "quant_config.json")  # GPTQ; AWQ
_PICKLES = (".bin", ".pth", ".pt")


@dataclass(frozen=True, slots=True)
class ListedFile:
    """A file as a repository lists it. ``digest``: SHA-256, or git's id (SHA-1) of a small one."""

    path: str
    size_bytes: int
    digest: str


@dataclass(frozen=True, slots=True)
class WantedFiles:
    """The files of one model.

    ``small`` come first: what describes it, and its text. Where an index is among them, ``weights``
    are all that it may name, and it says which are needed (``named_by_index``).
    """

    small: tuple[ListedFile, ...]
    weights: tuple[ListedFile, ...]
    quantisation: str | None = None
    """Of a GGUF."""
    configuration: str = ""
    """The file that describes them, by the same choice as sharding's."""
    has_index: bool = False


def choose_files(listed: Sequence[ListedFile], name: str, quantisation: str | None) -> WantedFiles:
    """Choose among the files of the repository ``name``; without ``quantisation``, safetensors.

    Raises ``CheckpointError`` if nothing there is read here, saying what there is instead.
    """
    files = {file.path: file for file in listed if _PLAIN_PATH.fullmatch(file.path)}
    safetensors = _weights(files)
    if quantisation is None and safetensors:
        return _checkpoint(files, safetensors, name)
    models = _gguf_models(files)
    if models:
        return _gguf(models, name, quantisation)
    if quantisation is not None:
        raise CheckpointError(
            f"{name} has no GGUF files, so nothing there is called {quantisation}: leave it out"
        )
    raise CheckpointError(f"{name} {_what_instead(files)}")


def named_by_index(
    weights: Sequence[ListedFile], names: Sequence[str], name: str
) -> tuple[ListedFile, ...]:
    """Those of the weights that an index names; raises ``CheckpointError`` if one lacks."""
    files = {file.path: file for file in weights}
    for lacking in (one for one in names if one not in files):
        raise CheckpointError(
            f"the index of {name} names {lacking}, which the repository lacks: tell its owner, or "
            "choose another revision"
        )
    return tuple(files[one] for one in names)


def _weights(files: dict[str, ListedFile]) -> tuple[ListedFile, ...]:
    """One file, or the index, or Mistral's own; empty without safetensors of a whole model."""
    for found in (hugging_face.SINGLE_NAME, hugging_face.INDEX_NAME):
        if found in files:
            return (files[found],)
    single = files.get(consolidated.SINGLE_NAME)
    if single:
        return (single,)
    return tuple(files[path] for path in sorted(files) if _CONSOLIDATED.fullmatch(path))


def _checkpoint(
    files: dict[str, ListedFile], weights: tuple[ListedFile, ...], name: str
) -> WantedFiles:
    if quantised := next((path for path in _QUANTISED if path in files), None):
        raise CheckpointError(
            f"{name} has quantised weights (it has {quantised}): pull the model that they were "
            "made from, in bfloat16, float16 or float32, or a GGUF of it"
        )
    configurations = [files[path] for path in _CONFIGURATIONS if path in files]
    own_first = -1 if weights[0].path.startswith("consolidated") else 1
    describing = [path for path in _CONFIGURATIONS[:2][::own_first] if path in files]
    if not describing:
        raise CheckpointError(
            f"{name} has weights but neither {_CONFIGURATIONS[0]} nor {_CONFIGURATIONS[1]}, which "
            "say what they are: pull another repository of this model"
        )
    has_index = weights[0].path == hugging_face.INDEX_NAME
    small = [*configurations, *(weights if has_index else ())]
    small += [files[path] for path in sorted(files) if _TEXT.fullmatch(path)]
    for large in (file for file in small if file.size_bytes > MAX_SMALL_BYTES):
        raise CheckpointError(
            f"{large.path} of {name} has {large.size_bytes} bytes; at most {MAX_SMALL_BYTES} are "
            "fetched"
        )
    if has_index:
        weights = tuple(files[path] for path in sorted(files) if _OF_INDEX.fullmatch(path))
    return WantedFiles(
        tuple(small),
        weights,
        configuration=describing[0],
        has_index=has_index,
    )


@dataclass(frozen=True, slots=True)
class _GgufModel:
    """One model in GGUF, in its parts."""

    name: GgufName
    parts: tuple[ListedFile, ...]

    @property
    def size_bytes(self) -> int:
        return sum(part.size_bytes for part in self.parts)

    def is_called(self, said: str) -> bool:
        """Whether a person means it: by its quantisation, or by the name of a file of it."""
        names = {self.name.quantisation, *(PurePosixPath(part.path).name for part in self.parts)}
        return said.lower() in {name.lower() for name in names if name}


def _gguf_models(files: dict[str, ListedFile]) -> list[_GgufModel]:
    parts: dict[str, list[tuple[GgufName, ListedFile]]] = defaultdict(list)
    for path in sorted(files):
        if named := gguf_name(path):
            parts[f"{named.whole} of {named.parts}"].append((named, files[path]))
    return [
        _GgufModel(group[0][0], tuple(file for _, file in sorted(group, key=_part_number)))
        for group in parts.values()
    ]


def _part_number(part: tuple[GgufName, ListedFile]) -> int:
    return part[0].part


def _gguf(models: list[_GgufModel], name: str, quantisation: str | None) -> WantedFiles:
    found = [one for one in models if one.is_called(quantisation or DEFAULT_QUANTISATION)]
    readable = [one for one in models if one.name.is_read]
    if not found and quantisation is None and len(readable) == 1:
        found = readable
    if len(found) != 1:
        raise CheckpointError(_which(models, found, name, quantisation))
    (model,) = found
    if not model.name.is_read:
        others = f": {_list(readable, name)}" if readable else ""
        raise CheckpointError(
            f"{name} in {model.name.quantisation}: weights of this format are not read here, "
            f"since so few bits cost too much. Take one of four bits or more{others}"
        )
    _check_parts(model, name)
    # What the file is called, where nothing shorter tells it from others.
    said = model.name.quantisation or PurePosixPath(model.parts[0].path).name
    if sum(one.is_called(said) for one in models) > 1:
        said = PurePosixPath(model.parts[0].path).name
    return WantedFiles((), model.parts, quantisation=said)


def _check_parts(model: _GgufModel, name: str) -> None:
    if model.name.parts > MAX_PARTS:
        raise CheckpointError(
            f"{name} is cut into {model.name.parts} files; at most {MAX_PARTS} are read"
        )
    numbers = [named.part for part in model.parts if (named := gguf_name(part.path))]
    for number in range(1, model.name.parts + 1):
        if number not in numbers:
            raise CheckpointError(
                f"{name} lacks part {number} of {model.name.parts} of {model.name.whole}.gguf: "
                "tell its owner, or take another quantisation"
            )


def _which(
    models: list[_GgufModel], found: list[_GgufModel], name: str, quantisation: str | None
) -> str:
    if found:
        names = [f"{name}:{PurePosixPath(one.parts[0].path).name}" for one in found]
        return f"{name} has several files of that name: say which, as in {' or '.join(names[:4])}"
    readable = [one for one in models if one.name.is_read]
    if not readable:
        there = ", ".join(
            sorted({one.name.quantisation for one in models if one.name.quantisation})
        )
        return f"{name} has nothing that is read here, only {there}: pull another repository"
    return (
        f"{name} has no {quantisation or DEFAULT_QUANTISATION}. Say which of these: "
        f"{_list(readable, name)}"
    )


def _list(models: list[_GgufModel], name: str) -> str:
    told = [
        f"{name}:{one.name.quantisation or PurePosixPath(one.parts[0].path).name} "
        f"({one.size_bytes / 1e9:.2f} GB)"
        for one in sorted(models, key=lambda one: one.size_bytes)
    ]
    return ", ".join(told[:12]) + (f" and {len(told) - 12} more" if len(told) > 12 else "")


def _what_instead(files: dict[str, ListedFile]) -> str:
    if ADAPTER_CONFIG_NAME in files or any(path.startswith("adapter_model.") for path in files):
        return (
            "holds an adapter (LoRA), not a model: pull a repository with the merged model, or "
            "merge it into its base model yourself"
        )
    pickles = [path for path in sorted(files) if path.endswith(_PICKLES)]
    if pickles:
        return (
            f"has its weights in {pickles[0]}, a pickle, which is never read here: look for a "
            "revision or another repository with safetensors or GGUF"
        )
    others = [path for path in sorted(files) if path.endswith(".safetensors")]
    if others:
        return (
            f"has {others[0]}, and weights of this name are not read: they are no whole model of "
            "text as transformers saves it"
        )
    return (
        "has no weights: neither model.safetensors (or its index), consolidated.safetensors nor "
        "a GGUF file is there"
    )
