"""What clients are told of the model that is served: its name, its size, what it can do."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pi_cluster.coordinator.records.pipeline_record import RECORD_NAME, PipelineRecord
from pi_cluster.coordinator.text_model import TextModel
from pi_cluster.transformer.config import ModelConfig
from pi_cluster.transformer.config_form import read_config

_EMBEDDED = "storyteller"
_LATEST = ":latest"
_HUBS = ("hf.co/", "huggingface.co/")
_MADE = "+"  # before the digest in the names of stores that `up` made on the way


@dataclass(frozen=True, slots=True)
class ModelCard:
    """The served model as it was when the server began."""

    id: str
    """Its name: as it was pulled, or that of its file or folder."""
    created_unix_s: int
    """When it was brought up."""
    digest: str
    """Of its store: equal for equal weights."""
    size_bytes: int
    context: int
    """Tokens of the longest text; with a window, of the longest that it was made for."""
    config: ModelConfig
    formats: tuple[str, ...]
    """Of the layers' matrices, that of most first."""
    has_chat: bool
    """Whether it knows turns of a conversation; else it continues texts."""
    can_think: bool
    """Whether it thinks before it answers, always or when it is told to."""
    can_switch_thinking: bool
    """Whether it can be told to think, or not to."""

    @classmethod
    def of(cls, record: PipelineRecord, model: TextModel) -> Self:
        """The card of what a pipeline serves."""
        manifest = record.manifest
        config = read_config(manifest.config)
        return cls(
            id=model_id(record.call.model if record.call else ""),
            created_unix_s=int((record.folder / RECORD_NAME).stat().st_mtime),
            digest=manifest.digest,
            size_bytes=manifest.size_bytes,
            context=record.model.context or config.max_positions,
            config=config,
            formats=manifest.formats_of_matrices,
            has_chat=model.has_chat_template,
            can_think=model.can_think,
            can_switch_thinking=model.can_switch_thinking,
        )

    def is_called(self, name: str) -> bool:
        """Whether a client that says ``name`` means this model.

        Case does not count, nor does ``:latest``. Of a pulled model the repository's own name will
        do.
        """
        said, own = _plain(name), _plain(self.id)
        return said in (own, own.rpartition("/")[2])


def model_id(said: str) -> str:
    """What a model is called that ``up`` was given so: a pulled name, a path, or nothing."""
    if not said:
        return _EMBEDDED
    if not Path(said).is_absolute():
        return said
    name = Path(said).name
    return name.removesuffix(".gguf").partition(_MADE)[0] or name


def _plain(name: str) -> str:
    plain = name.strip().lower().removesuffix(_LATEST)
    for hub in _HUBS:
        plain = plain.removeprefix(hub)
    return plain
