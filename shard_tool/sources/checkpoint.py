"""A checkpoint on disk: recognised, checked as a whole, read tensor by tensor."""

import hashlib
import json
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from pi_cluster.cluster.errors import CheckpointError
from pi_cluster.shard_tool.sources.block_tensor import BlockTensor
from pi_cluster.shard_tool.sources.forms import choose_form, find_gguf
from pi_cluster.shard_tool.sources.gguf_checkpoint import open_gguf, text_of_gguf
from pi_cluster.shard_tool.sources.source_files import read_json
from pi_cluster.shard_tool.sources.source_tensor import SourceTensor
from pi_cluster.shard_tool.sources.tensors import find_tensors
from pi_cluster.shard_tool.sources.tokenizer_files import find_special_ids, find_tokenizer_files
from pi_cluster.transformer.config import ModelConfig
from pi_cluster.transformer.config_faults import as_json
from pi_cluster.transformer.config_form import plain_config
from pi_cluster.transformer.errors import UnsupportedModel
from pi_cluster.transformer.families import config_json, params_json
from pi_cluster.transformer.families.config_json import read_config_json
from pi_cluster.transformer.families.params_json import read_params_json

_NAMES_OF_IDS = ("generation_config.json", config_json.FILE_NAME)
READERS = {
    config_json.FILE_NAME: read_config_json,
    params_json.FILE_NAME: read_params_json,
}
"""Of each file that may describe a model, by its name."""
_KEYS = {config_json.FILE_NAME: config_json.KEYS, params_json.FILE_NAME: params_json.KEYS}


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Every tensor of a model by Mistral's name, known to be there, whole and of the right shape.

    ``notes`` are sentences for whoever shards it: what was assumed, and what is left out.
    ``formats`` has those that tensors keep in a store whatever is asked for, being quantised.
    ``made_text`` is the folder of the text files that were written for it. Close it, or use it as a
    context manager: its files of weights are open.
    """

    path: Path
    config: ModelConfig
    notes: tuple[str, ...]
    tensors: Mapping[str, SourceTensor | BlockTensor]
    tokenizer_files: Mapping[str, Path]
    tokenizer_name: str | None
    bos_id: int | None
    eos_ids: tuple[int, ...]
    _files: ExitStack
    formats: Mapping[str, str] = field(default_factory=dict)
    made_text: Path | None = None

    def fingerprint(self) -> str:
        """SHA-256 over the configuration and the names, sizes and times of all files read.

        Text files that were made from them count by their content.
        """
        paths = {tensor.file.path for tensor in self.tensors.values()}
        made = {path for path in self.tokenizer_files.values() if path.parent == self.made_text}
        paths |= set(self.tokenizer_files.values()) - made
        stats = [(path.name, path.stat()) for path in sorted(paths)]
        texts = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in made}
        facts: dict[str, Any] = {"text": texts} if made else {}
        facts |= {
            "config": plain_config(self.config),
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
    """Open a folder in Hugging Face's or Mistral's own form, or a GGUF, and check all of it.

    ``path`` may also be a folder with one GGUF. Raises ``CheckpointError`` naming the file or
    tensor that is missing, torn or of an unexpected shape or dtype, and ``UnsupportedModel`` for an
    architecture that is not computed here.
    """
    if gguf := find_gguf(path):
        return _open_gguf(gguf)
    return _open_folder(path)


def _open_folder(path: Path) -> Checkpoint:
    form = choose_form(path)
    values = read_json(form.config_path)
    read = READERS[form.config_path.name](values)
    notes = [*form.notes, *read.notes, *_disagreements(form.config_path, read.config)]
    with ExitStack() as stack:
        files = form.weights.open_files(path, stack)
        tensor_form = form.weights.tensor_form(read.family)
        tensors, more_notes = find_tensors(files, read, tensor_form, form.config_path.name)
        notes += more_notes
        vocab_size = read.config.vocab_size
        text = find_tokenizer_files(path, vocab_size)
        other_paths = [path / name for name in _NAMES_OF_IDS if (path / name).exists()]
        configs = [(other, read_json(other)) for other in other_paths if other != form.config_path]
        configs.append((form.config_path, values))
        bos_id, eos_ids, end_notes = find_special_ids(configs, text.trial, vocab_size)
        notes += [*text.trial.notes, *end_notes]
        return Checkpoint(
            path=path,
            config=read.config,
            notes=tuple(notes),
            tensors=tensors,
            tokenizer_files=text.paths,
            tokenizer_name=text.model_name,
            bos_id=bos_id,
            eos_ids=eos_ids,
            _files=stack.pop_all(),
        )


def _open_gguf(path: Path) -> Checkpoint:
    with ExitStack() as stack:
        found = open_gguf(path, stack)
        vocab_size = found.read.config.vocab_size
        text, text_notes = text_of_gguf(found)
        configs = [(path, found.ids)]
        bos_id, eos_ids, end_notes = find_special_ids(configs, text.trial, vocab_size)
        return Checkpoint(
            path=path,
            config=found.read.config,
            notes=(*found.notes, *text_notes, *end_notes),
            tensors=found.tensors,
            tokenizer_files=text.paths,
            tokenizer_name=text.model_name,
            bos_id=bos_id,
            eos_ids=eos_ids,
            _files=stack.pop_all(),
            formats=found.formats,
            made_text=found.text_folder,
        )


def _disagreements(used: Path, config: ModelConfig) -> list[str]:
    """What the other form of configuration, if it is there too, says differently of the model.

    A file of that name that cannot be read is not this model's configuration, and is not used.
    """
    (name,) = READERS.keys() - {used.name}
    try:
        other = READERS[name](read_json(used.with_name(name))).config
    except (CheckpointError, UnsupportedModel):
        return []
    ours, theirs = _fields(config), _fields(other)
    differing = [field for field in ours if ours[field] != theirs[field]]
    return [
        f"{used.name} is used, but {name} differs: by it, {_KEYS[name][field]} is "
        f"{as_json(theirs[field])}, not {as_json(ours[field])}"
        for field in differing
    ]


def _fields(config: ModelConfig) -> dict[str, Any]:
    """What either form of configuration says, in one mapping; a list where layers differ."""
    (table,) = config.rope_tables
    own = {name: getattr(config, name) for name in ("dim", "n_layers", "vocab_size", "norm_eps")}
    own |= {"rope_theta": table.theta, "rope_factors": table.factors}
    for name in ("n_heads", "n_kv_heads", "head_dim", "hidden_dim", "window"):
        values = [getattr(layer, name) for layer in config.layers]
        own[name] = values[0] if len(set(values)) == 1 else values
    return own
