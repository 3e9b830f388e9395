"""Weights as Mistral publishes them: consolidated*.safetensors."""

from contextlib import ExitStack
from pathlib import Path

from pi_cluster.cluster.errors import CheckpointError
from pi_cluster.cluster.store.tensor_file import TensorFile
from pi_cluster.shard_tool.sources.source_files import check_plain_names, open_weights
from pi_cluster.transformer.families.family import Family
from pi_cluster.transformer.families.tensor_forms import CONSOLIDATED, TensorForm

SINGLE_NAME = "consolidated.safetensors"


def tensor_form(family: Family) -> TensorForm:
    """Mistral's own, whatever the family."""
    del family
    return CONSOLIDATED


def weight_files(folder: Path) -> list[Path]:
    """The folder's files of weights: one, or the parts of a large model."""
    single = folder / SINGLE_NAME
    return [single] if single.is_file() else sorted(folder.glob("consolidated*.safetensors"))


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
