"""How a model is that this user has: what of it is there, what it takes, where it is up.

Models are pulled by name, or were made stores by `up` on the way.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pi_cluster.cluster import settings
from pi_cluster.cluster.errors import ClusterError, VersionError
from pi_cluster.cluster.store.store import MANIFEST_NAME, Store
from pi_cluster.coordinator.records.kept_record import has_record, load_record
from pi_cluster.coordinator.records.pipeline_record import PipelineRecord
from pi_cluster.deploy.models.made_store import FORMATS, MadeStore, made_stores
from pi_cluster.deploy.models.model_source import find_recorded
from pi_cluster.deploy.models.pulled import PulledModel, pulled_models
from pi_cluster.deploy.screen import output
from pi_cluster.transformer.config_form import read_config
from pi_cluster.transformer.formats import WeightFormats


@dataclass(frozen=True, slots=True)
class ModelLook:
    """What is to be seen of a model; ``pulled`` is None for a store that `up` made."""

    name: str
    store_path: Path
    store: Store | None
    size_bytes: int
    clusters: tuple[str, ...]
    pulled: PulledModel | None = None

    @property
    def asked(self) -> WeightFormats:
        """The formats that its store was, or is to be, made with."""
        return self.pulled.formats if self.pulled else FORMATS

    @property
    def formats(self) -> tuple[str, ...]:
        """Of the matrices of its layers, that of most first; of a store to be, what was asked."""
        return self.store.manifest.formats_of_matrices if self.store else (self.asked.layers,)

    @property
    def layers(self) -> int | None:
        """How many it has, once that is known."""
        return self.store.manifest.n_layers if self.store else None

    @property
    def context(self) -> int | None:
        """The longest text that it was made for, in tokens."""
        if self.store is None:
            return None
        return read_config(self.store.manifest.config).max_positions

    @property
    def state(self) -> str:
        """How far it has come, in words."""
        if self.clusters:
            return f"up in {', '.join(self.clusters)}"
        if self.pulled is None:
            return "made by up" if self.store else "made by up in part"
        if self.store:
            return "ready, checkpoint kept" if self.pulled.has_checkpoint else "ready"
        if self.pulled.has_checkpoint:
            return "pulled, no store yet"
        return f"{output.size(self.pulled.lacking_bytes)} to fetch"

    def to_json(self) -> dict[str, Any]:
        """Values for ``json``."""
        pulled = self.pulled
        return {
            "name": self.name,
            "is_pulled": pulled is not None,
            "commit": pulled.commit if pulled else None,
            "is_ready": self.store is not None,
            "has_checkpoint": pulled is not None and pulled.has_checkpoint,
            "up_in": list(self.clusters),
            "store": str(self.store_path) if self.store else None,
            "weights": self.asked.layers,
            "outer_weights": self.asked.outer,
            "formats": list(self.formats),
            "size_bytes": self.size_bytes,
            "layers": self.layers,
            "context": self.context,
        }


def look_at_all() -> tuple[list[ModelLook], list[str]]:
    """How all of them are, pulled ones first, and a sentence on each that cannot be read."""
    pulled, problems = pulled_models()
    looks = []
    models: list[PulledModel | MadeStore] = [*pulled, *made_stores()]
    for model in models:
        try:
            looks.append(_look_at(model))
        except VersionError as error:
            problems.append(str(error))
    return looks, problems


def _look_at(model: PulledModel | MadeStore) -> ModelLook:
    clusters, store = clusters_with(model), model.store()
    if isinstance(model, MadeStore):
        return ModelLook(model.name, model.path, store, model.size_bytes, clusters)
    size_bytes = model.size_bytes
    return ModelLook(str(model.name), model.store_path, store, size_bytes, clusters, model)


def clusters_with(model: PulledModel | MadeStore) -> tuple[str, ...]:
    """The clusters of this user in which it is up, by whatever name it was brought up."""
    return tuple(cluster for cluster, record in _records() if _is_of(record, model))


def _records() -> Iterator[tuple[str, PipelineRecord]]:
    folder = settings.folders().state
    for cluster in sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []:
        with suppress(ClusterError):  # what cannot be read, `up` and `status` tell
            if has_record(cluster):
                yield cluster, load_record(cluster)


def _is_of(record: PipelineRecord, model: PulledModel | MadeStore) -> bool:
    said = record.call.model if record.call else ""
    if isinstance(model, PulledModel):
        return said in (str(model.name), str(model.store_path))
    if said == str(model.path):
        return True
    if not Path(said).is_absolute() or (Path(said) / MANIFEST_NAME).exists():
        return False
    with suppress(ClusterError):
        if (at := find_recorded(said).store_path).exists():
            return at == model.path
    store = model.store()  # its checkpoint has moved, or changed
    return store is not None and store.manifest == record.manifest
