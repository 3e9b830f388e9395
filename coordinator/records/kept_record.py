"""A pipeline's record on disk: changed by one at a time, made ready, put in its place, loaded.

A folder per cluster: the store's manifest and tokenizer files, and `pipeline.json`, written last.
"""

import contextlib
import fcntl
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pi_cluster.cluster import settings
from pi_cluster.cluster.advice import command
from pi_cluster.cluster.atomic_file import sync_folder, write_bytes
from pi_cluster.cluster.errors import BeingChanged, StaleEpoch, StateError, SystemFailure
from pi_cluster.cluster.held_lock import is_held
from pi_cluster.cluster.json_file import JsonFile
from pi_cluster.cluster.small_file import read_small
from pi_cluster.cluster.store.manifest import MAX_MANIFEST_BYTES, Manifest
from pi_cluster.cluster.store.store import Store
from pi_cluster.coordinator.records.advice import bring_one_up
from pi_cluster.coordinator.records.pipeline_record import (
    MANIFEST_NAME,
    RECORD_NAME,
    PipelineRecord,
)
from pi_cluster.coordinator.records.record_form import record_from_json, record_to_json

RECORD_VERSION = 1

_NEXT = "next"


@contextlib.contextmanager
def changing(cluster: str) -> Iterator[Path]:
    """The cluster's folder, held alone while a pipeline is brought up or down.

    Raises ``BeingChanged`` at once where somebody else holds it.
    """
    folder = settings.cluster_state(cluster)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BeingChanged(
                f"another program is changing cluster {cluster!r}, by `up` or `down` or as it "
                "mends the pipeline"
            ) from None
        yield folder


@contextlib.contextmanager
def replacing(record: PipelineRecord) -> Iterator[None]:
    """As `changing`, to put another pipeline of the same store in a record's place.

    Raises ``StateError`` also where it was brought down meanwhile, and ``StaleEpoch`` where another
    one has taken its place.
    """
    with changing(record.folder.name):
        if load_record(record.folder.name).epoch != record.epoch:
            raise StaleEpoch("another `up` has replaced the pipeline meanwhile")
        yield


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
    write_bytes(folder / MANIFEST_NAME, record.manifest.to_json().encode())
    _file(folder, record.folder.name).write(record_to_json(record))


def replace_record(record: PipelineRecord) -> None:
    """Have a pipeline of the same store count instead of the one before, at once."""
    _file(record.folder, record.folder.name).write(record_to_json(record))


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
    manifest_text = read_small(folder / MANIFEST_NAME, MAX_MANIFEST_BYTES).decode()
    return record_from_json(folder, Manifest.from_json(manifest_text), values)
