"""A GGUF as a checkpoint: its tensors by Mistral's names, and the tokenizer inside it as files."""

from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pi_cluster.cluster.errors import CheckpointError, StoreError
from pi_cluster.shard_tool.gguf.ggml_types import TYPES, GgmlType
from pi_cluster.shard_tool.gguf.header import TensorPlace
from pi_cluster.shard_tool.gguf.keys import Keys
from pi_cluster.shard_tool.gguf.model_files import ModelFiles, open_model
from pi_cluster.shard_tool.gguf.text_files import write_text_files
from pi_cluster.shard_tool.gguf.weight_file import GgufFile
from pi_cluster.shard_tool.sources.block_tensor import BlockTensor
from pi_cluster.shard_tool.sources.source_tensor import SourceTensor
from pi_cluster.shard_tool.sources.tensors import find_tensors
from pi_cluster.shard_tool.sources.text_trial import next_step_for_template
from pi_cluster.shard_tool.sources.tokenizer_files import TokenizerFiles, find_tokenizer_files
from pi_cluster.transformer.families.family import ReadConfig
from pi_cluster.transformer.families.gguf_metadata import ROPE_FACTORS, GgufFacts, read_gguf

_KIND = "general.type"
_READ = tuple(type_.name for type_ in TYPES.values() if type_.is_read)
_MAX_ROPE_FACTORS = 65_536
_ANOTHER = "Fetch another GGUF of the same model"


@dataclass(frozen=True, slots=True)
class GgufCheckpoint:
    """What was found in a GGUF. ``formats`` are those that its quantised tensors have in a store.

    ``text_folder`` has the tokenizer's files, ``ids`` is what they say of single ids.
    """

    model: ModelFiles
    read: ReadConfig
    tensors: Mapping[str, SourceTensor | BlockTensor]
    formats: Mapping[str, str]
    notes: tuple[str, ...]
    text_folder: Path
    ids: Mapping[str, Any]


def open_gguf(path: Path, stack: ExitStack) -> GgufCheckpoint:
    """Open a GGUF, any part of it, and check all of it; ``stack`` closes what is open.

    Raises ``CheckpointError`` and ``UnsupportedModel`` as ``open_checkpoint`` does.
    """
    model = open_model(path)
    keys = Keys(model.path, model.values)
    _refuse_other_kinds(keys)
    places = {name: place for name, (_, place) in model.tensors.items()}
    _refuse_other_formats(model)
    files = _open_files(model, stack)
    where = {name: files[part] for name, (part, _) in model.tensors.items()}
    shapes = {name: place.shape for name, place in places.items()}
    factors = _rope_factors(where, places)
    read = read_gguf(GgufFacts(str(model.path), model.values, shapes, factors))
    assert read.family.gguf, read.family
    found, notes = find_tensors(where, read, read.family.gguf.tensors, model.path.name, _READ)
    types = {name: places[tensor.name].type for name, tensor in found.items()}
    _refuse_quantised_vectors(found, types)
    folder = Path(stack.enter_context(TemporaryDirectory(prefix="pi-cluster-gguf-")))
    return GgufCheckpoint(
        model=model,
        read=read,
        tensors={
            name: BlockTensor(where[tensor.name], tensor.name, tensor.shape, tensor.half_split)
            if types[name].kept_as
            else tensor
            for name, tensor in found.items()
        },
        formats={
            name: form
            for name, type_ in types.items()
            if (form := type_.kept_as or type_.rounded_to)
        },
        notes=(*read.notes, *notes, *_of_formats(found, places)),
        text_folder=folder,
        ids=write_text_files(keys, read.config.vocab_size, folder),
    )


def text_of_gguf(found: GgufCheckpoint) -> tuple[TokenizerFiles, list[str]]:
    """The text files that were made of the tokenizer inside, tried, and notes on them.

    Raises ``CheckpointError`` where they cannot be used. All name the GGUF, not where they lie.
    """
    path, folder = found.model.path, found.text_folder

    def of_gguf(sentence: str) -> str:
        sentence = sentence.replace(next_step_for_template(folder), _ANOTHER)
        return sentence.replace(f"{folder}/", f"{path}: ").replace(str(folder), str(path))

    try:
        text = find_tokenizer_files(folder, found.read.config.vocab_size)
    except CheckpointError as error:
        raise CheckpointError(of_gguf(str(error))) from error
    if not text.paths:
        return text, [f"{path} has no tokenizer inside: `prompt --ids` works, text does not"]
    return text, list(map(of_gguf, text.trial.notes))


def _refuse_other_kinds(keys: Keys) -> None:
    kind = keys.text(_KIND)
    if kind not in (None, "model"):
        raise CheckpointError(
            f"{keys.path} is no model, but of the kind {kind!r} ({_KIND}): name the model's own "
            "file"
        )
    if "general.architecture" not in keys.values and not keys.values.get("split.count"):
        raise CheckpointError(f"{keys.path} lacks general.architecture. Fetch it again")


def _refuse_other_formats(model: ModelFiles) -> None:
    for name, (path, place) in model.tensors.items():
        if not place.type.is_read:
            raise CheckpointError(
                f"tensor {name!r} of {path} is in {place.dtype}, which is not read; "
                f"{', '.join(_READ)} are. Fetch the Q4_K_M or the Q8_0 file of the same model"
            )


def _refuse_quantised_vectors(
    tensors: Mapping[str, SourceTensor], types: Mapping[str, GgmlType]
) -> None:
    for name, tensor in tensors.items():
        if len(tensor.shape) == 1 and not types[name].is_plain:
            raise CheckpointError(
                f"tensor {tensor.name!r} of {tensor.file.path} is a vector in {types[name].name}; "
                f"only vectors of plain numbers are read. {_ANOTHER}"
            )


def _open_files(model: ModelFiles, stack: ExitStack) -> dict[Path, GgufFile]:
    files = {}
    for path in model.paths:
        of_path = {name: place for name, (part, place) in model.tensors.items() if part == path}
        try:
            files[path] = stack.enter_context(GgufFile(path, of_path))
        except StoreError as error:
            raise CheckpointError(str(error)) from error
    return files


def _rope_factors(
    where: Mapping[str, GgufFile], places: Mapping[str, TensorPlace]
) -> tuple[float, ...] | None:
    place = places.get(ROPE_FACTORS)
    if place is None:
        return None
    file = where[ROPE_FACTORS]
    if place.dtype != "F32" or len(place.shape) != 1 or place.shape[0] > _MAX_ROPE_FACTORS:
        raise CheckpointError(
            f"tensor {ROPE_FACTORS!r} of {file.path} has the shape {place.shape} in {place.dtype}; "
            f"it must be a vector in F32. {_ANOTHER}"
        )
    try:
        return tuple(file.read_rows(ROPE_FACTORS, 0, place.shape[0]).tolist())
    except StoreError as error:
        raise CheckpointError(str(error)) from error


def _of_formats(
    tensors: Mapping[str, SourceTensor], places: Mapping[str, TensorPlace]
) -> list[str]:
    """What becomes of tensors that are quantised already."""
    names = {tensor.name for tensor in tensors.values()}  # a tied matrix is two of them
    types = Counter(places[name].type for name in sorted(names))
    kept = [f"{type_.name} ({n})" for type_, n in types.items() if type_.kept_as]
    rounded = [f"{type_.name} ({n})" for type_, n in types.items() if type_.rounded_to]
    notes = []
    if kept:
        notes.append(
            f"tensors that are quantised keep their values, whatever --weights says: "
            f"{', '.join(kept)}"
        )
    if rounded:
        # Measured: 0.53 % of Gaussian weights, 0.68 % of Student's t of five degrees.
        notes.append(
            f"tensors in {', '.join(rounded)} become q8: that moves their weights by some 0.6 % "
            "(root mean square), and takes 30 to 50 % more memory than the file"
        )
    return notes
