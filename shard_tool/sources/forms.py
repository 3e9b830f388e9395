"""Which of its possible forms a checkpoint has: decided by the files that are there.

Weights come as Hugging Face names them (``model.safetensors``, or an index and ``model-*``) or as
Mistral does (``consolidated*.safetensors``), and the configuration as ``config.json`` or
``params.json``. Some folders hold both of each, some an index without its files, and either
configuration describes either weights.
"""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from pi_cluster.cluster.errors import CheckpointError
from pi_cluster.shard_tool.gguf.file_names import SUFFIX as GGUF_SUFFIX
from pi_cluster.shard_tool.gguf.model_files import find_first
from pi_cluster.shard_tool.sources import consolidated, hugging_face
from pi_cluster.shard_tool.sources.no_weights import ADAPTER_CONFIG_NAME, why_no_weights
from pi_cluster.transformer.checkpoint_file import is_pointer
from pi_cluster.transformer.families import config_json, params_json


@dataclass(frozen=True, slots=True)
class Form:
    """``weights`` is the module that reads them, ``config_path`` the file that describes them."""

    weights: ModuleType
    config_path: Path
    notes: tuple[str, ...]


def find_gguf(path: Path) -> Path | None:
    """The GGUF that ``path`` is, or that a folder without safetensors holds; None for a checkpoint.

    Raises ``CheckpointError`` if nothing is there, or several models are.
    """
    if path.is_dir():
        others = hugging_face.weight_files(path) or consolidated.weight_files(path)
        return None if others else find_first(path)
    if path.suffix == ".safetensors":
        raise CheckpointError(f"{path} is one file of a checkpoint: name its folder, {path.parent}")
    if not path.exists():
        what = "file" if path.suffix == GGUF_SUFFIX else "checkpoint folder"
        raise CheckpointError(f"there is no {what} {path}")
    if not path.is_file():
        raise CheckpointError(f"{path} is neither a file nor a folder")
    return path


def choose_form(folder: Path) -> Form:
    """Decide what is read: weights of which every file is there, Hugging Face's before Mistral's.

    A pointer of Git LFS is no file of weights. If no form is whole, one of which something is
    there is chosen, and opening it names the file that is not. The configuration is that of the
    weights' own family, or else the other one. Raises ``CheckpointError`` if there are no weights
    or no configuration, saying what is there instead, and what to do.
    """
    theirs = hugging_face.weight_files(folder)
    absent = [path for path in theirs if not _is_there(path)]
    mistrals = consolidated.weight_files(folder)
    some_of_theirs = any(path.is_file() for path in theirs)
    notes = []
    if theirs and not absent:
        weights: ModuleType = hugging_face
    elif mistrals and all(_is_there(path) for path in mistrals):
        weights = consolidated
        if some_of_theirs:
            notes.append(
                f"{absent[0].name} is not there: the weights are read from {mistrals[0].name}"
            )
    elif some_of_theirs:
        weights = hugging_face
    elif mistrals:
        weights = consolidated
    else:
        raise CheckpointError(why_no_weights(folder, theirs))
    if (folder / ADAPTER_CONFIG_NAME).exists():
        notes.append(f"the adapter of {ADAPTER_CONFIG_NAME} is not applied")
    return Form(weights, _config_path(folder, weights), tuple(notes))


def _config_path(folder: Path, weights: ModuleType) -> Path:
    names = [config_json.FILE_NAME, params_json.FILE_NAME]
    if weights is consolidated:
        names.reverse()
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise CheckpointError(
        f"{folder} has weights but neither {names[0]} nor {names[1]}: fetch {names[0]} of the "
        "same checkpoint"
    )


def _is_there(path: Path) -> bool:
    with suppress(OSError):
        return path.is_file() and not is_pointer(path)
    return True  # opening it says why it cannot be read
