"""``pull``: from a name to a store on this machine's disk.

First the small files, or the header of a GGUF, which say whether the model is read at all and how
large it becomes; then, if the disk has room for both, the weights and the store. What was there
before stays until then.
"""

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from pi_cluster.cluster.advice import line
from pi_cluster.cluster.errors import (
    CheckpointError,
    ClusterError,
    HubError,
    HubUnreachable,
    StoreError,
)
from pi_cluster.deploy.models.fetching import Fetching, lacking_bytes
from pi_cluster.deploy.models.model_name import ModelName
from pi_cluster.deploy.models.pulled import (
    PulledModel,
    changing,
    content_of,
    find_pulled,
    find_record,
    folder_bytes,
    remove_others,
)
from pi_cluster.deploy.models.sharding import shard_with_a_bar, told
from pi_cluster.deploy.models.sketching import sketch_gguf, sketch_safetensors
from pi_cluster.deploy.screen import output
from pi_cluster.shard_tool.before_fetching import (
    check_header,
    indexed_files,
    read_configuration,
    store_bytes_of_gguf,
)
from pi_cluster.shard_tool.sources.wanted_files import WantedFiles, choose_files, named_by_index
from pi_cluster.transformer.errors import ModelError, UnsupportedModel
from pi_cluster.transformer.formats import WeightFormats
from pi_cluster.transformer.weight_bytes import weight_bytes

if TYPE_CHECKING:
    from pi_cluster.deploy.models.hub import Hub, Repository

_SPARE_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Pull:
    """What is wanted: a model, the formats of its store, and whether its checkpoint stays."""

    name: ModelName
    formats: WeightFormats
    keep: bool = False

    def carry_out(self) -> PulledModel:
        """Have the model's store on disk, of the newest commit if the hub can be reached.

        Raises ``HubError``, ``CheckpointError`` or ``UnsupportedModel`` before any weights are
        fetched if it cannot be had or is not read, ``StoreError`` with figures if the disk is too
        small. Interrupted, the same call goes on with what has come.
        """
        hub = connected()
        try:
            repository = hub.look_up(self.name)
        except HubUnreachable as error:
            return self._with_what_is_here(error)
        wanted = choose_files(repository.files, self.name.repo_id, self.name.quantisation)
        model = self._model(repository, wanted)
        with changing(model.name), _traceless(model):
            before = find_record(model.name)
            if before:
                _tell_what_is_new(before, model)
            is_right = _has_right_store(model)
            if not is_right or (self.keep and not model.has_checkpoint):
                model = self._fetched(hub, model, wanted, before)
            elif before and _same(before, model):
                model = replace(model, files=before.files)  # as an index chose them
            return self._settled(model, is_right)

    def _model(self, repository: "Repository", wanted: WantedFiles) -> PulledModel:
        org, _, repo = repository.repo_id.partition("/")
        name = replace(self.name, org=org, repo=repo, quantisation=wanted.quantisation)
        files = (*wanted.small, *wanted.weights)
        formats = self.formats
        return PulledModel(
            *(name, repository.commit, content_of(files), files),
            *(formats.layers, formats.outer),
        )

    def _fetched(
        self, hub: "Hub", model: PulledModel, wanted: WantedFiles, before: PulledModel | None
    ) -> PulledModel:
        """Have its checkpoint on disk."""
        model.checkpoint.mkdir(parents=True, exist_ok=True)
        fetching = Fetching(hub, model.name, model.commit, model.checkpoint)
        fetching.fetch(wanted.small)
        if wanted.has_index:
            names = indexed_files(model.checkpoint)
            weights = named_by_index(wanted.weights, names, model.name.repo_id)
            model = replace(model, files=(*wanted.small, *weights))
        _check_room(model, _store_bytes(model, wanted, fetching))
        if before is None or before.store() is None:
            model.write()  # so that it is seen, and can be removed, however this ends
        with output.bars() as progress:
            fetching.fetch(model.files, output.FileBar(progress))
        return model

    def _settled(self, model: PulledModel, is_right: bool) -> PulledModel:
        """Have the store, keep the record, and let go of what is not needed any more."""
        if not is_right:
            if model.store() is not None:
                shutil.rmtree(model.store_path)  # damaged, and files fetched anew are others to it
            shard_with_a_bar(model.source, model.store_path, model.formats, origin=model.origin)
        model.write()
        kept = [model.store_path, *([model.checkpoint] if self.keep else [])]
        freed = remove_others(model, kept)
        store = model.store()
        assert store is not None, f"{model.store_path} was just made"
        lines = [f"{model.name}: {told(store.manifest)}, {'as it was' if is_right else 'ready'}"]
        if self.keep and model.has_checkpoint:
            lines.append(f"Its checkpoint stays at {model.source}")
        elif freed:
            lines.append(f"Removed, as it is not needed any more: {output.size(freed)}")
        lines.append(f"Next: {line('up', str(model.name))}")
        output.notes.print(". ".join(lines), markup=False, soft_wrap=True)
        return model

    def _with_what_is_here(self, why: HubUnreachable) -> PulledModel:
        """Without the hub: what was pulled before is used, if it is whole."""
        model = find_pulled(str(self.name))
        if model is None:
            raise HubUnreachable(f"{why}. Nothing of {self.name} was pulled here before") from None
        if model.formats != self.formats:
            model = replace(model, weights=self.formats.layers, outer_weights=self.formats.outer)
        with changing(model.name):
            is_right = _has_right_store(model)
            if not is_right and not model.has_checkpoint:
                lacks = output.size(model.lacking_bytes)
                raise HubUnreachable(f"{why}. Of {model.name}, {lacks} still lack here") from None
            output.note(f"{why}. Commit {model.commit[:12]} is used, which was pulled before")
            return self._settled(model, is_right)


def connected() -> "Hub":
    """A hub to ask. Raises ``HubError`` where what that takes is not installed."""
    try:
        from pi_cluster.deploy.models.hub import Hub
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("pi_cluster"):
            raise
        raise HubError(
            f"to pull models takes {error.name}, which is not installed beside pi-cluster: "
            f"`{sys.executable} -m pip install huggingface_hub`"
        ) from None
    return Hub()


@contextmanager
def _traceless(model: PulledModel) -> Iterator[None]:
    """Leave nothing of a model that is refused, or given up, before it has a record."""
    try:
        yield
    except (ClusterError, ModelError, KeyboardInterrupt) as error:
        if find_record(model.name) is not None:
            if isinstance(error, KeyboardInterrupt):
                output.notes.print("what has come is kept: the same command goes on there")
        elif not isinstance(error, HubUnreachable):
            shutil.rmtree(model.folder)
        raise


def _has_right_store(model: PulledModel) -> bool:
    """Whether its store is there and every file as it was written."""
    store = model.store()
    if store is None:
        return False
    with output.bars() as progress:
        return not store.verify(output.FileBar(progress))


def _same(before: PulledModel | None, model: PulledModel) -> bool:
    return before is not None and before.content == model.content


def _tell_what_is_new(before: PulledModel, model: PulledModel) -> None:
    if before.commit == model.commit:
        return
    of = f"commit {model.commit[:12]}, {before.commit[:12]} was pulled before"
    if _same(before, model):
        output.note(f"{model.name} has a newer {of}: what is needed of it is the same")
    else:
        output.note(f"{model.name} has a newer {of}: it takes its place")


def _store_bytes(model: PulledModel, wanted: WantedFiles, fetching: Fetching) -> int:
    """What its store takes; raises for a model that is not read."""
    with output.notes.status("reading what its files say of it"), _sketches(model) as folder:
        if model.name.quantisation:
            return store_bytes_of_gguf(sketch_gguf(fetching, model.files, folder), model.formats)
        config = read_configuration(model.checkpoint / wanted.configuration)
        if not wanted.has_index:  # which names the tensors, too
            check_header(sketch_safetensors(fetching, wanted.weights[0], folder))
        return weight_bytes(config, model.formats).all


@contextmanager
def _sketches(model: PulledModel) -> Iterator[Path]:
    """A folder for files that are not there yet. Errors name them as the hub does."""
    with TemporaryDirectory(prefix="pi-cluster-sketch-") as folder:
        try:
            yield Path(folder)
        except (CheckpointError, UnsupportedModel) as error:
            told = str(error).replace(f"{folder}/", f"{model.name.repo_id}/")
            raise type(error)(told) from error


def _check_room(model: PulledModel, store_bytes: int) -> None:
    """Tell what the model takes, and refuse it where the disk has less."""
    fetch_bytes = lacking_bytes(model.checkpoint, model.files)
    of_store = max(0, store_bytes - folder_bytes(model.store_path))
    free = shutil.disk_usage(model.folder).free
    takes = (
        f"{model.name} takes {output.size(fetch_bytes)} to fetch and about "
        f"{output.size(of_store)} for its store in {model.weights}; "
        f"{model.folder.parent} has {output.size(free)} free"
    )
    if free < fetch_bytes + of_store + _SPARE_BYTES:
        raise StoreError(
            f"{takes}, which is too little: make room (`{line('models')}` shows what models "
            "take), or have XDG_DATA_HOME name a folder on a larger disk"
        )
    output.notes.print(takes, markup=False, soft_wrap=True)
