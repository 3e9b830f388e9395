"""Shards on a disk that loses bits: what is found, what is set aside, and what is served then."""

import functools
import mmap
import os
import shutil
import subprocess
import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from pi_cluster.cluster.errors import NodeError, ShardDamaged, StaleEpoch, StoreError
from pi_cluster.cluster.layer_range import LayerRange
from pi_cluster.cluster.wire.dialing import PlainDialer
from pi_cluster.cluster.wire.options import WIRE_VERSION
from pi_cluster.cluster.wire.peer import Peer
from pi_cluster.protos import pi_cluster_pb2 as pb
from pi_cluster.transformer.limits import Limits
from pi_cluster.worker.shards.damaged import DamagedShard
from pi_cluster.worker.shards.vault import ShardVault
from pi_cluster.worker.stage.assignment import Assignment
from pi_cluster.worker.stage.host import StageHost
from pi_cluster.worker.stage.last_assignment import LastAssignment
from pi_cluster.worker.stage.loading import load_stage
from pi_cluster.worker.stage.verification import Verifier
from tests.support.checkpoints import small_config, write_hugging_face_checkpoint
from tests.support.cluster_process import eventually
from tests.support.kernel_engines import engine
from tests.support.stores import shard

LIMITS = Limits(max_step_rows=16, max_sequences=1, context=64, cache_positions=64)
EPOCH = 3


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A folder with a store of three layers, and its manifest."""
    folder = tmp_path_factory.mktemp("verification")
    write_hugging_face_checkpoint(folder / "c", small_config(n_layers=3))
    return folder / "s", shard(folder / "c", folder / "s", "q4")


class Worker:
    """What a worker has on its disk and serves, without a network."""

    def __init__(self, store, folder: Path) -> None:
        self.store, self.manifest = store
        self.folder = folder / "shards"
        self.vault = ShardVault(self.folder)
        load = functools.partial(load_stage, files=self.vault, engine=engine())
        last = LastAssignment(folder)
        self.host = StageHost(self.vault, load, PlainDialer(), last, "pi2")
        self.mended = threading.Event()
        self.verifier = Verifier(self.vault, self.host, self.mended.set)
        self.files = self.manifest.stage_files(0, 2)
        self.assignment = Assignment(
            EPOCH, self.manifest, LayerRange(0, 2), LIMITS, Peer("127.0.0.1:1", "id", "pi3"), ""
        )

    def receive_all(self) -> None:
        for file in self.manifest.files:
            data = (self.store / file.name).read_bytes()
            self.vault.receive(file.sha256, file.size_bytes, 0, [data])

    def path(self, file) -> Path:
        return self.folder / f"{file.sha256}.safetensors"

    def verify(self) -> pb.VerifyShardsReply:
        return list(self.verifier.verify_all(lambda _: True))[-1]


@pytest.fixture
def worker(store, tmp_path):
    made = Worker(store, tmp_path)
    made.receive_all()
    made.host.load(made.assignment)
    return made


def change(path: Path, offset: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 1]))


def test_what_is_right_is_told_and_remembered_as_found_right_now(worker):
    for path in worker.folder.iterdir():
        os.utime(path, (1e9, 1e9))
    assert worker.host.status().verified_ago_s > 5e8
    reply = worker.verify()
    assert (reply.shards, list(reply.damaged)) == (len(worker.manifest.files), [])
    # Those of the stage are read from memory and from the disk.
    mapped_bytes = sum(file.size_bytes for file in worker.files)
    assert reply.done_bytes == reply.total_bytes == worker.manifest.size_bytes + mapped_bytes
    assert worker.host.status().verified_ago_s < 1e6


@pytest.mark.parametrize("where", ["first", "middle", "last"])
def test_a_bit_anywhere_in_a_shard_is_found(worker, where):
    file = worker.files[1]
    change(
        worker.path(file),
        {"first": 0, "middle": file.size_bytes // 2, "last": file.size_bytes - 1}[where],
    )
    [damaged] = worker.verify().damaged
    assert (damaged.sha256, damaged.name) == (file.sha256, file.name)
    assert "SHA-256 differs" in damaged.problem


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def unreadable(path: Path) -> None:
    """Reading address 0 of a process fails as a card with a bad block does, with EIO."""
    path.unlink()
    path.symlink_to("/proc/self/mem")


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda path: path.unlink(), "is missing"),
        (cut, "bytes instead of"),
        (lambda path: (path.unlink(), path.mkdir()), "cannot be read: Is a directory"),
    ],
    ids=["removed", "a byte too short", "not a file"],
)
def test_what_cannot_be_read_is_as_bad_as_what_is_wrong(worker, spoil, problem):
    file = worker.files[0]
    spoil(worker.path(file))
    [damaged] = worker.verify().damaged
    assert damaged.name == file.name and problem in damaged.problem
    assert worker.host.status() is None and file.name in worker.host.problem


def test_a_card_that_answers_with_an_error_is_named(worker):
    shard_of_no_stage = next(f for f in worker.manifest.files if f not in worker.files)
    unreadable(worker.path(shard_of_no_stage))
    [damaged] = worker.verify().damaged
    assert damaged.problem == "cannot be read: Input/output error"
    assert worker.host.status() is not None


@pytest.fixture
def card(tmp_path):
    """A file system in a file, mounted: its bytes can be changed behind the system's back."""
    if os.geteuid() or not all(map(shutil.which, ("mkfs.ext4", "mount"))):
        pytest.skip("mounting a file system needs root, mount and mkfs.ext4")
    image, folder = tmp_path / "card.img", tmp_path / "card"
    folder.mkdir()
    with image.open("wb") as file:
        file.truncate(120 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
    words = ["mount", "-o", "loop", image, folder]
    mounted = subprocess.run(words, capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"mounting is not allowed here: {mounted.stderr}")
    yield image, folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_card_that_lost_a_bit_behind_what_is_in_memory_is_found(store, card):
    image, folder = card
    worker = Worker(store, folder)
    worker.receive_all()
    worker.host.load(worker.assignment)
    assert list(worker.verify().damaged) == []
    file = worker.files[1]
    right = worker.path(file).read_bytes()
    os.sync()
    with image.open("rb") as opened, mmap.mmap(opened.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        place = mapped.find(right[4096:8192])
    change(image, place + 7)
    assert worker.path(file).read_bytes() == right  # from memory
    [damaged] = worker.verify().damaged
    assert damaged.name == file.name
    assert damaged.problem.endswith("on the disk, though still in memory")
    assert worker.host.status() is None


def test_nothing_is_served_from_a_damaged_shard_and_the_reason_names_it_and_the_node(worker):
    file = worker.files[2]
    change(worker.path(file), 1000)
    worker.verify()
    assert worker.host.status() is None and worker.vault.held([file.sha256]) == []
    header = pb.SessionHeader(wire_version=WIRE_VERSION, epoch=EPOCH, session="s")
    with (
        pytest.raises(ShardDamaged, match=rf"{file.name} on pi2 is damaged.*next `up` sends"),
        worker.host.sessions.open(header),
    ):
        pass
    header.epoch += 1
    with pytest.raises(StaleEpoch), worker.host.sessions.open(header):
        pass
    with pytest.raises(StoreError, match=f"{file.name} is damaged"):
        worker.host.load(replace(worker.assignment, epoch=EPOCH + 1))
    with pytest.raises(NodeError, match="is damaged"), worker.vault.reading(file.sha256, 0, 100):
        pass


def test_the_right_bytes_end_it(worker):
    file = worker.files[2]
    change(worker.path(file), 1000)
    worker.verify()
    worker.receive_all()
    worker.host.load(replace(worker.assignment, epoch=EPOCH + 1))
    assert worker.host.problem == "" and list(worker.verify().damaged) == []
    assert sorted(worker.folder.iterdir()) == sorted(map(worker.path, worker.manifest.files))


def test_a_shard_found_damaged_while_it_is_loaded_is_not_served(worker):
    file, load = worker.files[1], worker.host._load

    def load_and_find(*words):
        loaded = load(*words)
        damaged = DamagedShard(file.sha256, file.name, "is wrong")
        assert worker.vault.set_aside(damaged, worker.vault.inode_of(file.sha256))
        worker.host.withdraw(damaged)
        return loaded

    worker.host._load = load_and_find
    with pytest.raises(StoreError, match=f"{file.name} is damaged, it is wrong"):
        worker.host.load(replace(worker.assignment, epoch=EPOCH + 1))
    assert worker.host.status() is None


def test_after_a_restart_it_is_still_set_aside_and_the_stage_is_remembered(worker, store, tmp_path):
    file = worker.files[1]
    change(worker.path(file), 1000)
    worker.verify()
    for _ in range(2):
        again = Worker(store, tmp_path)
        [damaged] = again.vault.damaged
        assert (damaged.digest, damaged.name) == (file.sha256, file.name)
        again.host.reload()
        assert file.name in again.host.problem and again.host.status() is None
    again.receive_all()
    assert again.host.restore(again.host.withdrawn)
    assert again.host.status().epoch == EPOCH and again.host.problem == ""


def test_what_was_unloaded_meanwhile_is_not_restored(worker):
    change(worker.path(worker.files[1]), 1000)
    worker.verify()
    withdrawn = worker.host.withdrawn
    worker.receive_all()
    worker.host.unload(EPOCH)
    assert not worker.host.restore(withdrawn)
    assert worker.host.status() is None and worker.host.problem == ""


def test_a_shard_that_came_again_is_not_set_aside_for_what_was_read_before(worker):
    file = worker.files[1]
    before = worker.vault.inode_of(file.sha256)
    kept_open = worker.path(file).open("rb")
    with closing(kept_open):
        worker.path(file).unlink()
        worker.receive_all()
        damaged = DamagedShard(file.sha256, file.name, "is wrong")
        assert not worker.vault.set_aside(damaged, before)
    assert worker.vault.held([file.sha256]) == [file.sha256]


def test_a_disk_that_takes_no_changes_does_not_hide_the_damage(worker, monkeypatch):
    file = worker.files[1]

    def read_only(*_):
        raise OSError(30, "Read-only file system")

    change(worker.path(file), 1000)
    monkeypatch.setattr(Path, "replace", read_only)
    worker.verify()
    assert worker.path(file).exists()
    assert worker.vault.held([file.sha256]) == [] and file.sha256 not in worker.vault.whole()
    with pytest.raises(StoreError, match=f"{file.name} is damaged"):
        worker.vault.path_of(file)
    monkeypatch.undo()
    worker.receive_all()
    assert worker.vault.path_of(file).read_bytes() == (worker.store / file.name).read_bytes()


def test_what_is_set_aside_goes_first_when_room_is_short_and_with_its_store(worker):
    first, second = worker.files[:2]
    for file in (first, second):
        change(worker.path(file), 1000)
    worker.verify()
    aside = sorted(worker.vault.damaged.files())
    assert len(aside) == 2 and set(worker.vault._room.removable()[:2]) == set(aside)
    worker.vault.prune({file.sha256 for file in worker.files})
    assert sorted(worker.vault.damaged.files()) == aside
    worker.vault.prune({first.sha256})
    assert [damaged.name for damaged in worker.vault.damaged] == [first.name]
    assert len(worker.vault.damaged.files()) == 1


def test_in_the_background_all_that_is_damaged_is_found_before_it_is_mended(worker):
    spoiled = worker.files[::2]
    for file in spoiled:
        change(worker.path(file), 1000)
    with worker.verifier.watching():
        assert worker.mended.wait(30)
        assert {damaged.name for damaged in worker.vault.damaged} == {f.name for f in spoiled}


def test_the_background_goes_on_with_what_is_loaded_next(worker):
    with worker.verifier.watching():
        for epoch in (EPOCH + 1, EPOCH + 2):
            worker.host.unload(epoch)
            for file in worker.files:
                os.utime(worker.path(file), (1e9, 1e9))
            worker.host.load(replace(worker.assignment, epoch=epoch))
            worker.verifier.wake()
            eventually(
                lambda: worker.host.status().verified_ago_s, lambda ago_s: ago_s < 1e6, within_s=30
            )


def test_a_slow_verification_ends_at_once_with_the_worker(worker):
    slow = Verifier(worker.vault, worker.host, bytes_ps=1.0)
    with slow.watching():
        pass  # a block would take three days
    assert all(path.suffix == ".safetensors" for path in worker.folder.iterdir())


def test_who_has_gone_ends_it_and_makes_room_for_the_next(worker):
    hole = worker.folder / f"{'0' * 64}.safetensors"
    with hole.open("wb") as file:
        file.truncate(1 << 40)  # minutes
    asking = worker.verifier.verify_all(lambda _: True)
    next(asking)
    with pytest.raises(NodeError, match="for somebody else"):
        worker.verify()
    asking.close()
    hole.unlink()
    assert worker.verify().shards == len(worker.manifest.files)
    assert list(worker.verifier.verify_all(lambda _: False)) == []
    assert worker.verify().shards == len(worker.manifest.files)
