"""Weights as Hugging Face keeps them: model.safetensors, or an index and its files."""

from contextlib import ExitStack
from pathlib import Path

from pi_cluster.cluster.errors import CheckpointError
from pi_cluster.cluster.store.tensor_file import TensorFile
from pi_cluster.shard_tool.sources.source_files import check_plain_names, open_weights, read_json
from pi_cluster.transformer.families.family import Family
from pi_cluster.transformer.families.tensor_forms import TensorForm

SINGLE_NAME = "model.safetensors"
INDEX_NAME = "model.safetensors.index.json"


def tensor_form(family: Family) -> TensorForm:
    """What the tensors of a family are called, and the order of their rows."""
    return family.hugging_face


def weight_files(folder: Path) -> list[Path]:
    """The files of weights that the folder has, or should have by its index; none without either.

    Raises ``CheckpointError`` for an index that cannot be read.
    """
    if (folder / SINGLE_NAME).is_file():
        return [folder / SINGLE_NAME]
    if not (folder / INDEX_NAME).is_file():
        return []
    return [folder / name for name in sorted(set(_weight_map(folder / INDEX_NAME).values()))]


def open_files(folder: Path, stack: ExitStack) -> dict[str, TensorFile]:
    """Open the weights, to be closed by ``stack``, and return the file of each tensor.

    Raises ``CheckpointError`` if a file is missing or torn, or the index does not fit the files.
    """
    files = {path.name: stack.enter_context(open_weights(path)) for path in weight_files(folder)}
    if SINGLE_NAME in files:
        return dict.fromkeys(files[SINGLE_NAME].names, files[SINGLE_NAME])
    weight_map = _weight_map(folder / INDEX_NAME)
    held = {name: set(file.names) for name, file in files.items()}
    for tensor, name in weight_map.items():
        if tensor not in held[name]:
            raise CheckpointError(
                f"{folder / INDEX_NAME} says that {tensor!r} is in {name}, but it is not there"
            )
    return {tensor: files[name] for tensor, name in weight_map.items()}


def _weight_map(index: Path) -> dict[str, str]:
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{index} has no weight_map. Fetch it again")
    if not all(isinstance(name, str) for name in weight_map.values()):
        raise CheckpointError(f"{index} has a weight_map that names no files. Fetch it again")
    check_plain_names(set(weight_map.values()), index)
    return weight_map
