"""A checkpoint on disk: recognised, checked as a whole, read tensor by tensor."""

import hashlib
import json
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from cluster.errors import CheckpointError
from shard_tool import consolidated, hugging_face
from shard_tool.source_files import SourceTensor, read_json
from shard_tool.tokenizer_files import find_special_ids, find_tokenizer_files
from transformer.config import ModelConfig

GENERATION_CONFIG_NAME = "generation_config.json"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Every tensor of a model by Mistral's name, known to be there, whole and of the right shape.

    ``notes`` are sentences for whoever shards it: what was assumed, and what is left out. Close it,
    or use it as a context manager: its files of weights are open.
    """

    path: Path
    config: ModelConfig
    notes: tuple[str, ...]
    tensors: Mapping[str, SourceTensor]
    tokenizer_files: Mapping[str, Path]
    tokenizer_name: str | None
    bos_id: int
    eos_ids: tuple[int, ...]
    _files: ExitStack

    def fingerprint(self) -> str:
        """SHA-256 over the configuration and the names, sizes and times of all files read."""
        paths = {tensor.file.path for tensor in self.tensors.values()}
        paths |= set(self.tokenizer_files.values())
        stats = [(path.name, path.stat()) for path in sorted(paths)]
        facts = {
            "config": self.config.to_dict(),
            "ids": [self.bos_id, *self.eos_ids],
            "tokenizer_name": self.tokenizer_name,
            "sources": {name: tensor.name for name, tensor in self.tensors.items()},
            "files": [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats],
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def close(self) -> None:
        """Close the files of weights."""
        self._files.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()


def open_checkpoint(path: Path) -> Checkpoint:
    """Open a folder in Hugging Face's or Mistral's own form and check all of it.

    Raises ``CheckpointError`` naming the file or tensor that is missing, torn or of an unexpected
    shape or dtype, and ``UnsupportedModel`` for an architecture that is not computed here.
    """
    if not path.is_dir():
        raise CheckpointError(f"there is no checkpoint folder {path}")
    notes: list[str] = []
    with ExitStack() as stack:
        if (path / hugging_face.CONFIG_NAME).exists() and hugging_face.has_weights(path):
            config_path = path / hugging_face.CONFIG_NAME
            values = read_json(config_path)
            config = ModelConfig.from_hugging_face(values)
            files = hugging_face.open_files(path, stack)
            tensors = hugging_face.find_tensors(files, config, values)
        elif (path / consolidated.PARAMS_NAME).exists() and consolidated.weight_files(path):
            config_path = path / consolidated.PARAMS_NAME
            values = read_json(config_path)
            config = ModelConfig.from_params(values)
            files = consolidated.open_files(path, stack)
            tensors = consolidated.find_tensors(files, config, values)
        else:
            raise CheckpointError(_why_none(path))
        text = find_tokenizer_files(path, config.vocab_size)
        generation = path / GENERATION_CONFIG_NAME
        configs = [(generation, read_json(generation))] if generation.exists() else []
        configs.append((config_path, values))
        bos_id, eos_ids, end_notes = find_special_ids(configs, text.trial, config.vocab_size)
        notes += [*text.trial.notes, *end_notes]
        return Checkpoint(
            path=path,
            config=config,
            notes=tuple(notes),
            tensors=tensors,
            tokenizer_files=text.paths,
            tokenizer_name=text.model_name,
            bos_id=bos_id,
            eos_ids=eos_ids,
            _files=stack.pop_all(),
        )


def _why_none(path: Path) -> str:
    pickled = sorted([*path.glob("*.bin"), *path.glob("*.pth"), *path.glob("*.pt")])
    if pickled:
        return (
            f"{path} has its weights in {pickled[0].name}, a pickle, which is never read here: "
            "fetch the checkpoint as safetensors"
        )
    if any(path.glob("*.gguf")):
        return f"{path} is in GGUF form; fetch the checkpoint as safetensors"
    return (
        f"{path} is no checkpoint: neither config.json with model.safetensors (or its index) nor "
        "params.json with consolidated.safetensors is there"
    )
