"""How a pulled model is: what of it is there, what it takes, and in which clusters it is up."""

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pi_cluster.cluster import settings
from pi_cluster.cluster.errors import ClusterError
from pi_cluster.cluster.store.store import Store
from pi_cluster.coordinator.records.pipeline_record import has_record, load_record
from pi_cluster.deploy.models.pulled import PulledModel
from pi_cluster.deploy.screen import output
from pi_cluster.transformer.config_form import read_config


@dataclass(frozen=True, slots=True)
class ModelLook:
    """What is to be seen of a model."""

    model: PulledModel
    store: Store | None
    size_bytes: int
    clusters: tuple[str, ...]

    @property
    def formats(self) -> str:
        """Of the matrices of its layers, that of most first; of a store to be, what was asked."""
        formats = self.store.manifest.formats if self.store else None
        if formats is None:
            return self.model.weights
        kinds = Counter(form for of in formats.layers for form in of.values() if form != "f32")
        return "+".join(form for form, _ in kinds.most_common()) or self.model.weights

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
        if self.store:
            return "ready, checkpoint kept" if self.model.has_checkpoint else "ready"
        if self.model.has_checkpoint:
            return "pulled, no store yet"
        return f"{output.size(self.model.lacking_bytes)} to fetch"

    def to_json(self) -> dict[str, Any]:
        """Values for ``json``."""
        model = self.model
        return {
            "name": str(model.name),
            "commit": model.commit,
            "is_ready": self.store is not None,
            "has_checkpoint": model.has_checkpoint,
            "up_in": list(self.clusters),
            "store": str(model.store_path) if self.store else None,
            "weights": model.weights,
            "outer_weights": model.outer_weights,
            "size_bytes": self.size_bytes,
            "layers": self.layers,
            "context": self.context,
        }


def look_at(model: PulledModel) -> ModelLook:
    """See how it is. Raises ``VersionError`` for a store that is too new."""
    return ModelLook(model, model.store(), model.size_bytes, clusters_with(model))


def clusters_with(model: PulledModel) -> tuple[str, ...]:
    """The clusters of this user in which it is up, by whatever name it was brought up."""
    folder = settings.folders().state
    named = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    return tuple(cluster for cluster in named if _is_up(model, cluster))


def _is_up(model: PulledModel, cluster: str) -> bool:
    with suppress(ClusterError):  # what cannot be read, `up` and `status` tell
        if has_record(cluster):
            call = load_record(cluster).call
            return call is not None and call.model in (str(model.name), str(model.store_path))
    return False
