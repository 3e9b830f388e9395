"""Checkpoints as Mistral publishes them: params.json and consolidated*.safetensors."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

from cluster.errors import CheckpointError
from cluster.tensor_file import TensorFile
from shard_tool.names import tensor_shapes
from shard_tool.source_files import (
    SourceTensor,
    check_plain_names,
    find_tensor,
    open_weights,
    refuse_unknown,
)
from transformer.config import ModelConfig

PARAMS_NAME = "params.json"
SINGLE_NAME = "consolidated.safetensors"


def weight_files(folder: Path) -> list[Path]:
    """The folder's files of weights: one, or the parts of a large model."""
    single = folder / SINGLE_NAME
    return [single] if single.exists() else sorted(folder.glob("consolidated*.safetensors"))


def open_files(folder: Path, stack: ExitStack) -> dict[str, TensorFile]:
    """Open the weights, to be closed by ``stack``, and return the file of each tensor.

    Raises ``CheckpointError`` if a file is torn or a tensor lies in two files.
    """
    paths = weight_files(folder)
    check_plain_names({path.name for path in paths}, folder)
    where: dict[str, TensorFile] = {}
    for path in paths:
        file = stack.enter_context(open_weights(path))
        for name in file.names:
            if name in where:
                raise CheckpointError(
                    f"tensor {name!r} is both in {where[name].path} and in {path}; "
                    "checkpoints cut across their matrices are not read"
                )
            where[name] = file
    return where


def find_tensors(
    where: dict[str, TensorFile], config: ModelConfig, values: dict[str, Any]
) -> dict[str, SourceTensor]:
    """Find and check every tensor of the model.

    Raises ``CheckpointError`` for the first one that is missing, unfit or not computed here.
    """
    tied = values.get("tied_embeddings", False)
    found = {}
    for name, shape in tensor_shapes(config).items():
        source = "tok_embeddings.weight" if tied and name == "output.weight" else name
        found[name] = find_tensor(where, source, shape, None)
    refuse_unknown(where, set(found))
    return found
