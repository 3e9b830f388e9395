"""Checkpoint -> store, one row block at a time, in steps that survive being interrupted."""

import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from pi_cluster.cluster.atomic_file import PARTIAL_SUFFIX, write_bytes
from pi_cluster.cluster.errors import StoreError, VersionError
from pi_cluster.cluster.shown import shown_line
from pi_cluster.cluster.store.manifest import STORE_VERSION, Manifest, ShardFile, is_store_name
from pi_cluster.cluster.store.store import (
    JOURNAL_NAME,
    MANIFEST_NAME,
    Progress,
    Store,
    find_problem,
)
from pi_cluster.kernels import Packer
from pi_cluster.shard_tool.importance.importance import ImportanceSource
from pi_cluster.shard_tool.journal import (
    SOURCE_NAME,
    Journal,
    read_journal,
    read_origin,
    read_source,
    write_source,
)
from pi_cluster.shard_tool.origin import MOST_NAME, Origin
from pi_cluster.shard_tool.shards import ShardWriter
from pi_cluster.shard_tool.sources.checkpoint import open_checkpoint
from pi_cluster.transformer.config_form import plain_config
from pi_cluster.transformer.formats import WeightFormats

OnNote = Callable[[str], None]
"""Told each sentence that the checkpoint has for whoever shards it, before anything is written."""

_SPARE_BYTES = 1_000_000  # journal, manifest and the file system's own books


def shard(
    checkpoint_path: Path,
    out: Path,
    formats: WeightFormats,
    packer: Packer,
    on_progress: Progress | None = None,
    on_note: OnNote | None = None,
    weighing: ImportanceSource | None = None,
    origin: Origin | None = None,
) -> Manifest:
    """Write the store of a checkpoint into the folder ``out`` and return its manifest.

    It tells its ``origin``: the checkpoint's name, unless something better is known.

    Interrupted, the same call goes on with the files that are done and still verify; over a
    finished store of the same checkpoint it mends what is damaged, and otherwise does nothing.
    Holds a few row blocks of 16 MiB in memory, whatever the size of the model; what ``weighing``,
    which says how much columns count, takes comes before.

    Raises ``CheckpointError`` or ``UnsupportedModel`` before anything is written if the checkpoint
    is not sound or ``weighing`` does not fit it, ``CheckpointError`` for a weight that ``formats``
    cannot hold, and ``StoreError`` if ``out`` is something else, too small or cannot be written.
    """
    with open_checkpoint(checkpoint_path) as checkpoint, _locked_folder(out):
        _tell(checkpoint.notes, on_note)
        identity = f"{STORE_VERSION} {formats} {checkpoint.fingerprint()}"
        if weighing:
            identity += f" {weighing.identity}"
        source = hashlib.sha256(identity.encode()).hexdigest()
        _refuse_other_content(out, source)
        writer = ShardWriter(checkpoint, out, formats, packer)
        if weighing:
            writer = writer.weighed_by(weighing)
            _tell(writer.notes_on_importance(), on_note)
        sizes = writer.planned_sizes()
        meter = _Meter(sum(sizes.values()), on_progress)
        done = _files_done(out, _files_known(out, source), sizes, meter)
        if len(done) < len(sizes):
            _clear(out, keep=done)
            _check_room(out, sum(size for name, size in sizes.items() if name not in done))
            Journal(source, tuple(done.values())).write(out)
        for name in sizes:
            if name not in done:
                done[name] = _write(writer, name, meter)
                Journal(source, tuple(done.values())).write(out)
        manifest = Manifest(
            weights=formats.layers,
            outer_weights=formats.outer,
            config=plain_config(checkpoint.config),
            bos_id=checkpoint.bos_id,
            eos_ids=checkpoint.eos_ids,
            files=tuple(done[name] for name in sizes),
            tokenizer_name=checkpoint.tokenizer_name,
            formats=writer.store_formats(),
        )
        origin = origin or Origin(shown_line(checkpoint_path.resolve().name)[:MOST_NAME])
        if writer.importance:
            origin = replace(origin, weighed_by=writer.importance.origin)
        _finish(out, source, origin, manifest)
        return manifest


def _tell(notes: Iterable[str], on_note: OnNote | None) -> None:
    if on_note:
        for note in notes:
            on_note(note)


@dataclass
class _Meter:
    """Bytes of the store that stand on disk, told to whoever watches."""

    total_bytes: int
    on_progress: Progress | None
    done_bytes: int = 0

    def move_to(self, done_bytes: int, file_name: str) -> None:
        self.done_bytes = done_bytes
        if self.on_progress:
            self.on_progress(done_bytes, self.total_bytes, file_name)


@contextmanager
def _locked_folder(out: Path) -> Iterator[None]:
    try:
        out.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(out, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise StoreError(
            f"cannot make a store at {out}: {error.strerror}. Name another folder with --out"
        ) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreError(
                f"another `pi-cluster shard` is writing to {out}: wait for it or end it"
            ) from None
        yield
    finally:
        os.close(descriptor)


def _refuse_other_content(out: Path, source: str) -> None:
    """Refuse to touch a folder that holds something which this very call did not make."""
    if (out / MANIFEST_NAME).exists():
        if read_source(out) != source:
            raise StoreError(
                f"{out} holds a finished store of another checkpoint or of other weights: name "
                "another folder with --out, or delete that store first"
            )
        return
    if (out / JOURNAL_NAME).exists():
        return
    own = {JOURNAL_NAME + PARTIAL_SUFFIX}
    foreign = sorted(path.name for path in out.iterdir() if path.name not in own)
    if foreign:
        raise StoreError(
            f"{out} is not empty and is no store (it has {foreign[0]!r}): "
            "name another folder with --out"
        )


def _files_known(out: Path, source: str) -> dict[str, ShardFile]:
    known = {}
    with suppress(StoreError, VersionError):
        # Its source was compared; a manifest that cannot be read is written anew.
        known.update({file.name: file for file in Store(out).manifest.files})
    journal = read_journal(out)
    if journal and journal.source == source:
        known.update({file.name: file for file in journal.files})
    return known


def _files_done(
    out: Path, known: dict[str, ShardFile], sizes: dict[str, int], meter: _Meter
) -> dict[str, ShardFile]:
    done = {}
    for name, size_bytes in sizes.items():
        file = known.get(name)
        if file and file.size_bytes == size_bytes and find_problem(out, file) is None:
            done[name] = file
            meter.move_to(meter.done_bytes + size_bytes, name)
    return done


def _clear(out: Path, keep: dict[str, ShardFile]) -> None:
    """Remove what an earlier attempt left, first of all to make room."""
    try:
        for path in out.iterdir():
            is_ours = is_store_name(path.name.removesuffix(PARTIAL_SUFFIX))
            if is_ours and path.name not in keep:
                path.unlink()
    except OSError as error:
        raise StoreError(f"cannot clear {out}: {error}") from error


def _check_room(out: Path, needed_bytes: int) -> None:
    free_bytes = shutil.disk_usage(out).free
    if free_bytes < needed_bytes + _SPARE_BYTES:
        raise StoreError(
            f"the store needs {needed_bytes / 1e6:.1f} MB more and {out} has "
            f"{free_bytes / 1e6:.1f} MB free: make room, or name another folder with --out"
        )


def _write(writer: ShardWriter, name: str, meter: _Meter) -> ShardFile:
    start = meter.done_bytes
    file = writer.write(name, lambda count: meter.move_to(meter.done_bytes + count, name))
    meter.move_to(start + file.size_bytes, name)  # header and padding were not counted
    return file


def _finish(out: Path, source: str, origin: Origin, manifest: Manifest) -> None:
    text = manifest.to_json().encode()
    path = out / MANIFEST_NAME
    try:
        if (read_source(out), read_origin(out)) != (source, origin):
            write_source(out, source, origin)
        if not path.exists() or path.read_bytes() != text:
            write_bytes(path, text)
        (out / JOURNAL_NAME).unlink(missing_ok=True)
        (out / (SOURCE_NAME + PARTIAL_SUFFIX)).unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(f"cannot finish the store {out}: {error}") from error
