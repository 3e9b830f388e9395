"""Checkpoints as Hugging Face keeps them: config.json and model*.safetensors."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

from cluster.errors import CheckpointError
from cluster.tensor_file import TensorFile
from shard_tool.names import ROTATED, hugging_face_name, short_name, tensor_shapes
from shard_tool.source_files import (
    SourceTensor,
    check_plain_names,
    find_tensor,
    open_weights,
    read_json,
    refuse_unknown,
)
from transformer.config import ModelConfig

CONFIG_NAME = "config.json"
SINGLE_NAME = "model.safetensors"
INDEX_NAME = "model.safetensors.index.json"


def has_weights(folder: Path) -> bool:
    """Whether the folder holds weights under Hugging Face's names."""
    return (folder / SINGLE_NAME).exists() or (folder / INDEX_NAME).exists()


def open_files(folder: Path, stack: ExitStack) -> dict[str, TensorFile]:
    """Open the weights, to be closed by ``stack``, and return the file of each tensor.

    Raises ``CheckpointError`` if a file is missing or torn, or the index does not fit the files.
    """
    if (folder / SINGLE_NAME).exists():
        file = stack.enter_context(open_weights(folder / SINGLE_NAME))
        return dict.fromkeys(file.names, file)
    index = folder / INDEX_NAME
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{index} has no weight_map. Fetch it again")
    names = list(weight_map.values())
    if not all(isinstance(name, str) for name in names):
        raise CheckpointError(f"{index} has a weight_map that names no files. Fetch it again")
    check_plain_names(set(names), index)
    files = {name: stack.enter_context(open_weights(folder / name)) for name in sorted(set(names))}
    held = {name: set(file.names) for name, file in files.items()}
    for tensor, name in weight_map.items():
        if tensor not in held[name]:
            raise CheckpointError(f"{index} says that {tensor!r} is in {name}, but it is not there")
    return {tensor: files[name] for tensor, name in weight_map.items()}


def find_tensors(
    where: dict[str, TensorFile], config: ModelConfig, values: dict[str, Any]
) -> dict[str, SourceTensor]:
    """Find and check every tensor of the model; keys are Mistral's names.

    Raises ``CheckpointError`` for the first one that is missing, unfit or not computed here.
    """
    found = {}
    for name, shape in tensor_shapes(config).items():
        # Hugging Face ties by the configuration, even where the file holds a matrix of its own.
        tied = name == "output.weight" and values.get("tie_word_embeddings", False)
        source = hugging_face_name("tok_embeddings.weight" if tied else name)
        head_dim = config.head_dim if short_name(name) in ROTATED else None
        found[name] = find_tensor(where, source, shape, head_dim)
    refuse_unknown(where, {tensor.name for tensor in found.values()})
    return found
