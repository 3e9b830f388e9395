"""What `up` remembers of a pipeline, so that `prompt` need not look for it again.

A folder per cluster: the store's manifest and tokenizer files, and `pipeline.json`, written last.
"""

import contextlib
import fcntl
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pi_cluster.cluster import settings
from pi_cluster.cluster.advice import command
from pi_cluster.cluster.atomic_file import sync_folder, write_bytes
from pi_cluster.cluster.errors import ClusterError, StateError, SystemFailure
from pi_cluster.cluster.held_lock import is_held
from pi_cluster.cluster.json_file import JsonFile
from pi_cluster.cluster.layer_range import LayerRange
from pi_cluster.cluster.small_file import read_small
from pi_cluster.cluster.store.manifest import MAX_MANIFEST_BYTES, Manifest
from pi_cluster.cluster.store.store import Store
from pi_cluster.cluster.wire.peer import MOST_ADDRESSES, Peer, told_peer
from pi_cluster.coordinator.planning.objective import Objective
from pi_cluster.coordinator.planning.prediction import CHUNK_ROWS, Prediction
from pi_cluster.coordinator.planning.standby import Copies, layer_files
from pi_cluster.coordinator.records.advice import bring_one_up
from pi_cluster.coordinator.records.up_call import UpCall
from pi_cluster.coordinator.served_model import ServedModel
from pi_cluster.coordinator.stage_address import StageAddress
from pi_cluster.coordinator.step_times import StepTimes
from pi_cluster.transformer.limits import Limits

if TYPE_CHECKING:
    from pi_cluster.coordinator.scheduling.residents import CacheLimits
    from pi_cluster.coordinator.text_model import TextModel

RECORD_NAME = "pipeline.json"
RECORD_VERSION = 1

_MANIFEST_NAME = "manifest.json"
_NEXT = "next"


@dataclass(frozen=True, slots=True)
class RecordedStage:
    """One stage as it was loaded."""

    where: StageAddress
    weight_bytes: int
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class PipelineRecord:
    """A pipeline that was brought up."""

    folder: Path
    epoch: int
    manifest: Manifest
    limits: Limits
    objective: Objective
    prediction: Prediction
    stages: tuple[RecordedStage, ...]
    unused: tuple[str, ...]
    """Ids of nodes that were offered and got no stage."""
    insecure: bool = False
    """Whether it was brought up, and is called, without certificates on other machines."""
    call: UpCall | None = None
    """What was asked for; None where an older `up` did not write it down."""
    store: str = ""
    """Where its store lay on this machine when it was brought up; empty where it did not."""
    absent: tuple[Peer, ...] = ()
    """Nodes that had a stage before and were lost: others do their work until they are back."""
    copies: tuple[Copies, ...] = ()
    """What nodes keep for the layers of others."""

    @property
    def addresses(self) -> tuple[StageAddress, ...]:
        """The stages in pipeline order."""
        return tuple(stage.where for stage in self.stages)

    @property
    def cache_limits(self) -> "CacheLimits":
        """What the caches have room for, as the scheduler counts it."""
        from pi_cluster.coordinator.scheduling.residents import CacheLimits
        from pi_cluster.transformer.config_form import read_config

        return CacheLimits.of(read_config(self.manifest.config), self.limits)

    @property
    def model(self) -> ServedModel:
        """The bounds of the served model's ids and texts."""
        from pi_cluster.transformer.config_form import read_config

        config = read_config(self.manifest.config)
        return ServedModel(
            vocab_size=config.vocab_size,
            bos_id=self.manifest.bos_id,
            eos_ids=frozenset(self.manifest.eos_ids),
            context=None if config.widest_window else self.limits.context,
            made_for=config.max_positions,
            dim=config.dim,
            cluster=self.folder.name,
        )

    @property
    def files(self) -> list[Path]:
        """Where it lies, with what `prompt` needs of its store."""
        names = [file.name for file in self.manifest.tokenizer_files]
        return [self.folder / name for name in (*names, _MANIFEST_NAME, RECORD_NAME)]

    def in_place_of(self, before: "PipelineRecord") -> "PipelineRecord":
        """This pipeline where it serves the store of another one, which lost or got nodes.

        Where that store lies is still known, and who had a stage then and has none now.
        """
        used = {stage.node_id for stage in self.addresses}
        known = [*before.absent, *(stage.peer for stage in before.addresses)]
        absent = {peer.node_id: peer for peer in known if peer.node_id not in used}
        return replace(self, store=before.store, absent=tuple(absent.values()))

    def open_store(self) -> Store | None:
        """Its store, if it still lies where it was brought up from."""
        try:
            store = Store(Path(self.store)) if self.store else None
        except ClusterError:
            return None
        return store if store and store.manifest.digest == self.manifest.digest else None

    def step_times(self) -> StepTimes:
        """What each stage should take for a step, for a session to begin with."""
        predicted = self.prediction
        return StepTimes(predicted.stage_s, predicted.prefill_tps, CHUNK_ROWS)

    def text_model(self) -> "TextModel":
        """The served model's tokenizer and chat template."""
        from pi_cluster.coordinator.text_model import TextModel

        return TextModel(self.folder, self.manifest)


@contextlib.contextmanager
def changing(cluster: str) -> Iterator[Path]:
    """The cluster's folder, held alone while a pipeline is brought up or down."""
    folder = settings.cluster_state(cluster)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StateError(
                f"another `up` or `down` is changing cluster {cluster!r}: wait for it"
            ) from None
        yield folder


def is_changing(cluster: str) -> bool:
    """Whether a pipeline is being brought up or down on this machine."""
    return is_held(settings.cluster_state(cluster) / "lock")


def save_record(record: PipelineRecord, store: Store) -> None:
    """Remember a pipeline and copy what `prompt` needs of its store."""
    prepare_record(record, store)
    put_in_place(record)


def prepare_record(record: PipelineRecord, store: Store) -> None:
    """Write all of it beside its place, while the record before still counts.

    A full disk is thus noticed before the nodes let go of what they serve.
    """
    folder = record.folder / _NEXT
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for file in record.manifest.tokenizer_files:
        shutil.copyfile(store.path_of(file), folder / file.name)
    write_bytes(folder / _MANIFEST_NAME, record.manifest.to_json().encode())
    _file(folder, record.folder.name).write(_values(record))


def replace_record(record: PipelineRecord) -> None:
    """Have a pipeline of the same store count instead of the one before, at once."""
    _file(record.folder, record.folder.name).write(_values(record))


def _values(record: PipelineRecord) -> dict[str, Any]:
    return {
        "epoch": record.epoch,
        "store_digest": record.manifest.digest,
        "limits": asdict(record.limits),
        "objective": record.objective.value,
        "prediction": asdict(record.prediction),
        "stages": [_stage_json(stage) for stage in record.stages],
        "unused": list(record.unused),
        "insecure": record.insecure,
        "call": record.call.to_json() if record.call else None,
        "store": record.store,
        "copies": [asdict(one) for one in record.copies],
        "absent": [_peer_json(peer) for peer in record.absent],
    }


def put_in_place(record: PipelineRecord) -> None:
    """Have a prepared record count, `pipeline.json` last."""
    folder = record.folder / _NEXT
    for path in record.files:
        (folder / path.name).replace(path)
    folder.rmdir()
    sync_folder(record.folder)


def record_file(cluster: str) -> Path:
    """Where the record lies, if there is one."""
    return settings.cluster_state(cluster) / RECORD_NAME


def has_record(cluster: str) -> bool:
    """Whether `up` remembers a pipeline, readable or not."""
    return record_file(cluster).exists()


def load_record(cluster: str) -> PipelineRecord:
    """The pipeline of a cluster.

    Raises ``StateError`` when none is up or it cannot be read, ``VersionError`` for a newer one.
    """
    folder = settings.cluster_state(cluster)
    try:
        record = _file(folder, cluster).read(lambda values: _record(folder, values))
    except SystemFailure as failure:
        # To whoever asks for it, it is as good as torn: `up` goes on, and writes it anew.
        raise StateError(str(failure)) from None
    if record is None:
        raise StateError(f"no pipeline is up in cluster {cluster!r}: {bring_one_up(cluster)}")
    return record


def forget_record(folder: Path) -> None:
    """Forget a pipeline that was brought down."""
    _file(folder, folder.name).remove()


def _file(folder: Path, cluster: str) -> JsonFile:
    return JsonFile(
        folder / RECORD_NAME,
        "bring the pipeline up again, with the MODEL and the options that you gave then: "
        f"{command(cluster, 'up')} ...",
        RECORD_VERSION,
        most_bytes=MAX_MANIFEST_BYTES,
    )


def _record(folder: Path, values: dict[str, Any]) -> PipelineRecord:
    manifest_text = read_small(folder / _MANIFEST_NAME, MAX_MANIFEST_BYTES).decode()
    manifest = Manifest.from_json(manifest_text)
    if manifest.digest != values["store_digest"]:
        raise StateError("it belongs to another manifest")
    return PipelineRecord(
        folder=folder,
        epoch=int(values["epoch"]),
        manifest=manifest,
        limits=Limits(**values["limits"]),
        objective=Objective(values["objective"]),
        prediction=_prediction(values["prediction"]),
        stages=tuple(_stage(stage) for stage in values["stages"]),
        unused=tuple(map(str, values["unused"])),
        insecure=values.get("insecure") is True,
        call=UpCall.from_json(values["call"]) if values.get("call") else None,
        store=str(values.get("store") or ""),
        absent=tuple(map(_peer, values.get("absent", ()))),
        copies=tuple(_copies(one, manifest) for one in values.get("copies", ())),
    )


def _prediction(values: dict[str, Any]) -> Prediction:
    lists = {name: tuple(values[name]) for name in ("stage_s", "links_s")}
    return Prediction(**(values | lists))


def _peer_json(peer: Peer) -> dict[str, Any]:
    return {"node_id": peer.node_id, "name": peer.name, "addresses": list(peer.addresses)}


def _peer(values: dict[str, Any]) -> Peer:
    address, *others = map(str, values["addresses"][:MOST_ADDRESSES])
    return told_peer(address, others, str(values["node_id"]), str(values["name"]))


def _copies(values: dict[str, Any], manifest: Manifest) -> Copies:
    layers = tuple(map(int, values["layers"]))
    if not layer_files(manifest).keys() >= set(layers):
        raise ValueError(f"copies of layers {layers}, of which the model has not all")
    return Copies(str(values["node_id"]), str(values["name"]), layers)


def _stage_json(stage: RecordedStage) -> dict[str, Any]:
    where = stage.where
    return {
        "node_id": where.node_id,
        "name": where.name,
        "address": where.address,
        "other_addresses": list(where.others),
        "layers": [where.layers.start, where.layers.stop],
        "weight_bytes": stage.weight_bytes,
        "memory_bytes": stage.memory_bytes,
    }


def _stage(values: dict[str, Any]) -> RecordedStage:
    where = StageAddress(
        str(values["node_id"]),
        str(values["name"]),
        str(values["address"]),
        LayerRange(*values["layers"]),
        tuple(map(str, values.get("other_addresses", ())))[: MOST_ADDRESSES - 1],
    )
    return RecordedStage(where, int(values["weight_bytes"]), int(values["memory_bytes"]))
