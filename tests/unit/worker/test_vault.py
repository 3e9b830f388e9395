"""The shards on a node's disk: only the right bytes, under their own digest, nowhere else."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pi_cluster.cluster.errors import NodeError, ShardChanged, StoreError
from pi_cluster.cluster.store.manifest import ShardFile
from pi_cluster.worker.shards import disk_room
from pi_cluster.worker.shards.vault import ShardVault

DATA = bytes(range(256)) * 10
DIGEST = sha256(DATA).hexdigest()
SHARD = ShardFile("layer-07.safetensors", len(DATA), DIGEST)


@pytest.fixture
def vault(tmp_path: Path) -> ShardVault:
    return ShardVault(tmp_path / "shards")


def files_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_shard_that_arrives_whole_is_kept_under_its_digest(vault, tmp_path):
    assert vault.held([DIGEST]) == []
    vault.receive(DIGEST, len(DATA), 0, [DATA[:1000], b"", DATA[1000:]])
    assert vault.held([DIGEST, "0" * 64]) == [DIGEST]
    assert vault.path_of(SHARD).read_bytes() == DATA
    assert files_below(tmp_path) == [f"shards/{DIGEST}.safetensors"]


def test_a_shard_of_no_bytes_is_kept(vault):
    digest = sha256(b"").hexdigest()
    vault.receive(digest, 0, 0, [])
    assert vault.held([digest]) == [digest]


def test_a_shard_survives_a_restart(vault, tmp_path):
    vault.receive(DIGEST, len(DATA), 0, [DATA])
    assert ShardVault(tmp_path / "shards").held([DIGEST]) == [DIGEST]


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ([DATA[:-1] + b"\0"], "arrived changed"),
        ([DATA, b"\0"], "came with more than that"),
        ([DATA + b"\0"], "came with more than that"),
    ],
    ids=["one byte wrong", "a part too many", "a part too long"],
)
def test_a_shard_of_other_bytes_is_refused_and_leaves_nothing(vault, tmp_path, parts, reason):
    with pytest.raises(StoreError, match=reason):
        vault.receive(DIGEST, len(DATA), 0, parts)
    assert vault.held([DIGEST]) == []
    assert files_below(tmp_path) == []


@pytest.mark.parametrize("count", [0, 1, len(DATA) - 1])
def test_a_sender_that_ends_too_early_is_refused_as_one_that_breaks_off(vault, count):
    with pytest.raises(NodeError, match=f"2560 bytes broke off after {count}$"):
        vault.receive(DIGEST, len(DATA), 0, [DATA[:count]])
    assert vault.held([DIGEST]) == []
    vault.receive(DIGEST, len(DATA), count, [DATA[count:]])
    assert vault.held([DIGEST]) == [DIGEST]


@pytest.mark.parametrize(("size", "kind"), [(len(DATA) - 1, ShardChanged), (2561, NodeError)])
def test_the_right_bytes_with_another_size_are_refused(vault, size, kind):
    with pytest.raises(kind):
        vault.receive(DIGEST, size, 0, [DATA])
    assert vault.held([DIGEST]) == []


def breaking_off(data: bytes) -> Iterator[bytes]:
    yield data
    raise ConnectionError("the cable is out")


def begin(vault: ShardVault, data: bytes, digest: str = DIGEST, size: int = len(DATA)) -> None:
    """Have a shard arrive whose sender is lost after ``data``."""
    with pytest.raises(ConnectionError):
        vault.receive(digest, size, 0, breaking_off(data))


def test_a_sender_that_breaks_off_leaves_what_it_sent_and_no_shard(vault, tmp_path):
    begin(vault, DATA[:100])
    assert vault.held([DIGEST]) == []
    assert files_below(tmp_path) == [f"shards/{DIGEST}.partial"]
    assert vault.find([DIGEST, "0" * 64]) == ([], {DIGEST: 100})
    vault.receive(DIGEST, len(DATA), 0, [DATA])
    assert vault.find([DIGEST]) == ([DIGEST], {})
    assert files_below(tmp_path) == [f"shards/{DIGEST}.safetensors"]


@pytest.mark.parametrize("offset", [0, 1, 2, 3, 255, 1023, 1999, len(DATA) - 1, len(DATA)])
def test_a_shard_goes_on_after_a_restart_from_any_byte_that_is_there(tmp_path, offset):
    begin(ShardVault(tmp_path), DATA[:offset])
    again = ShardVault(tmp_path)
    there = again.find([DIGEST])[1].get(DIGEST, 0)
    assert there == offset
    again.receive(DIGEST, len(DATA), there, [DATA[there:]])
    assert again.path_of(SHARD).read_bytes() == DATA


@settings(max_examples=60)
@given(stops=st.lists(st.integers(0, len(DATA)), max_size=5))
def test_a_shard_that_breaks_off_again_and_again_becomes_whole(tmp_path_factory, stops):
    folder = tmp_path_factory.mktemp("vault")
    for stop in sorted(stops):
        vault = ShardVault(folder)
        there = vault.find([DIGEST])[1].get(DIGEST, 0)
        with pytest.raises(ConnectionError):
            vault.receive(DIGEST, len(DATA), there, breaking_off(DATA[there:stop]))
    vault = ShardVault(folder)
    there = vault.find([DIGEST])[1].get(DIGEST, 0)
    assert there == max(stops, default=0)
    vault.receive(DIGEST, len(DATA), there, [DATA[there:]])
    assert vault.path_of(SHARD).read_bytes() == DATA


def test_a_sender_may_go_back_to_before_what_is_there(vault):
    begin(vault, DATA[:500] + b"\0" * 500)
    vault.receive(DIGEST, len(DATA), 500, [DATA[500:]])
    assert vault.path_of(SHARD).read_bytes() == DATA


def test_a_sender_that_skips_what_is_not_there_is_refused_with_what_is(vault):
    begin(vault, DATA[:500])
    with pytest.raises(NodeError, match="go on at byte 501, and 500 are here"):
        vault.receive(DIGEST, len(DATA), 501, [DATA[501:]])
    assert vault.find([DIGEST]) == ([], {DIGEST: 500})


def test_a_beginning_with_a_wrong_byte_is_found_at_the_end_and_forgotten(vault, tmp_path):
    begin(vault, b"\1" + DATA[1:1000])
    with pytest.raises(ShardChanged, match="arrived changed"):
        vault.receive(DIGEST, len(DATA), 1000, [DATA[1000:]])
    assert files_below(tmp_path) == []
    vault.receive(DIGEST, len(DATA), 0, [DATA])
    assert vault.held([DIGEST]) == [DIGEST]


@pytest.mark.parametrize("size", [100, 499])
def test_a_sender_with_another_size_than_the_one_before_begins_anew(vault, size):
    begin(vault, DATA[:500])
    with pytest.raises(NodeError, match="send it from its beginning"):
        vault.receive(DIGEST, size, 500, [])
    assert vault.find([DIGEST]) == ([], {})


@pytest.mark.parametrize("size", [-1, 2**50 + 1, 2**64 - 1])
def test_a_size_that_no_shard_has_is_refused(vault, tmp_path, size):
    with pytest.raises(NodeError, match="bytes is none"):
        vault.receive(DIGEST, size, 0, [DATA])
    assert files_below(tmp_path) == []


def test_what_arrives_while_it_is_held_is_not_even_read(vault):
    vault.receive(DIGEST, len(DATA), 0, [DATA])
    unread = iter([b"x"])
    vault.receive(DIGEST, len(DATA), 0, unread)
    assert next(unread) == b"x"
    assert vault.path_of(SHARD).read_bytes() == DATA


def test_a_second_sender_waits_for_the_first_and_finds_the_shard_there(vault):
    with ThreadPoolExecutor(1) as pool, vault.receiving(DIGEST, len(DATA)) as arrival:
        arrival.write(DATA[:1000])
        second = pool.submit(vault.receive, DIGEST, len(DATA), 0, breaking_off(b""))
        arrival.write(DATA[1000:])
        arrival = None
    assert second.result() is None
    assert vault.path_of(SHARD).read_bytes() == DATA


def test_a_second_sender_that_waits_in_vain_is_told_so(vault, monkeypatch):
    monkeypatch.setattr(disk_room, "_TURN_S", 0.05)
    with vault.receiving(DIGEST, len(DATA)) as arrival:
        with pytest.raises(NodeError, match="another sender brings this node the shard"):
            vault.receive(DIGEST, len(DATA), 0, [DATA])
        arrival.write(DATA)
    assert vault.held([DIGEST]) == [DIGEST]


def test_a_second_sender_goes_on_where_the_first_was_lost(vault):
    begin(vault, DATA[:700])
    with vault.receiving(DIGEST, len(DATA), None) as arrival:
        assert arrival.received_bytes == 700
        arrival.write(DATA[700:])
    assert vault.path_of(SHARD).read_bytes() == DATA


def test_shards_of_several_senders_arrive_side_by_side(vault):
    others = {sha256(data).hexdigest(): data for data in (bytes([n]) * 5000 for n in range(6))}
    with ExitStack() as stack:
        arrivals = {
            digest: stack.enter_context(vault.receiving(digest, len(data)))
            for digest, data in others.items()
        }
        for start in range(0, 5000, 500):
            for digest, arrival in arrivals.items():
                arrival.write(others[digest][start : start + 500])
    assert vault.held(others) == list(others)


def test_a_wrong_shard_does_not_replace_the_one_that_is_held(vault):
    vault.receive(DIGEST, len(DATA), 0, [DATA])
    vault.receive(DIGEST, len(DATA), 0, [b"x" * len(DATA)])
    assert vault.path_of(SHARD).read_bytes() == DATA


BAD_NAMES = [
    "",
    "abc",
    DIGEST[:-1],
    DIGEST + "0",
    DIGEST + "\n",
    DIGEST.upper(),
    "../" + DIGEST,
    "../" * 21 + "x",
    "/" + "0" * 63,
    "." * 64,
    "0" * 63 + "/",
    "0" * 63 + "٧",
    "g" * 64,
]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_name_that_is_no_digest_is_refused_and_touches_no_file(vault, tmp_path, name):
    with pytest.raises(NodeError, match="64 hexadecimal digits"):
        vault.receive(name, len(DATA), 0, [DATA])
    with pytest.raises(NodeError, match="64 hexadecimal digits"):
        vault.held([name])
    assert files_below(tmp_path) == []


@settings(max_examples=100)
@given(name=st.text(alphabet="0a./\\\n\0~", min_size=60, max_size=68))
def test_no_text_but_a_digest_names_a_file(tmp_path_factory, name):
    folder = tmp_path_factory.getbasetemp() / "named"
    vault = ShardVault(folder)
    if len(name) == 64 and set(name) <= set("0a"):
        assert vault.held([name]) == []
    else:
        with pytest.raises(NodeError):
            vault.held([name])


def test_what_is_no_beginning_of_a_shard_is_removed_at_the_start(tmp_path):
    folder = tmp_path / "shards"
    ShardVault(folder).receive(DIGEST, len(DATA), 0, [DATA])
    for name in (f"{'0' * 64}.safetensors.partial", "x.partial"):
        (folder / name).write_bytes(b"half")
    (folder / f"{'1' * 64}.partial").write_bytes(b"half")
    ShardVault(folder)
    assert files_below(folder) == [f"{'1' * 64}.partial", f"{DIGEST}.safetensors"]


def test_beginnings_that_nobody_came_back_for_are_removed(tmp_path):
    names = [f"{number:064x}.partial" for number in range(20)]
    for age, name in enumerate(names):
        (tmp_path / name).write_bytes(b"half")
        written_s = time.time() - 3600 * age
        os.utime(tmp_path / name, (written_s, written_s))
    week_ago = time.time() - 8 * 86_400
    os.utime(tmp_path / names[0], (week_ago, week_ago))
    ShardVault(tmp_path)
    assert files_below(tmp_path) == names[1:17]


def test_a_shard_that_is_missing_is_named_with_the_command_that_sends_it(vault):
    with pytest.raises(StoreError) as refusal:
        vault.path_of(SHARD)
    assert "layer-07.safetensors is not on this node" in str(refusal.value)
    assert "next `up`" in str(refusal.value)


@pytest.mark.parametrize("size", [0, len(DATA) - 1, len(DATA) + 1])
def test_a_shard_that_lost_its_size_is_removed_and_named(vault, size):
    vault.receive(DIGEST, len(DATA), 0, [DATA])
    path = vault.path_of(SHARD)
    path.write_bytes(bytes(size))
    with pytest.raises(StoreError, match=rf"layer-07.safetensors has {size} bytes and was removed"):
        vault.path_of(SHARD)
    assert not path.exists()
    assert vault.held([DIGEST]) == []


def test_pruning_removes_the_shards_of_other_stores_and_nothing_else(vault, tmp_path):
    other = b"another store"
    vault.receive(DIGEST, len(DATA), 0, [DATA])
    vault.receive(sha256(other).hexdigest(), len(other), 0, [other])
    (tmp_path / "shards" / "notes.txt").write_text("mine")
    vault.prune({DIGEST})
    assert files_below(tmp_path / "shards") == sorted([f"{DIGEST}.safetensors", "notes.txt"])
    vault.prune(set())
    assert files_below(tmp_path / "shards") == ["notes.txt"]


def test_a_shard_larger_than_the_disk_is_refused_before_a_byte_is_read(vault, monkeypatch):
    margin = 64 << 20
    monkeypatch.setattr(disk_room, "free_disk_bytes", lambda folder: margin + len(DATA) - 1)
    unread = iter([DATA])
    with pytest.raises(StoreError, match=f"room for {len(DATA) - 1} bytes, and a shard has 2560"):
        vault.receive(DIGEST, len(DATA), 0, unread)
    assert next(unread) == DATA
    monkeypatch.setattr(disk_room, "free_disk_bytes", lambda folder: margin + len(DATA))
    vault.receive(DIGEST, len(DATA), 0, [DATA])


MARGIN = 64 << 20


class Disk:
    """A disk of so many bytes beside the margin, on which the vault's files lie."""

    def __init__(self, monkeypatch, folder: Path, size_bytes: int) -> None:
        self._folder = folder
        self._size_bytes = size_bytes
        monkeypatch.setattr(disk_room, "free_disk_bytes", self._free)

    def _free(self, folder: Path) -> int:
        used = sum(path.stat().st_size for path in self._folder.iterdir())
        return MARGIN + self._size_bytes - used


def put(vault: ShardVault, number: int, size: int = 1000, age_s: float = 0.0) -> str:
    """Hand the vault a shard that was written ``age_s`` ago; returns its digest."""
    data = bytes([number]) * size
    digest = sha256(data).hexdigest()
    vault.receive(digest, size, 0, [data])
    path = vault.path_of(ShardFile("layer-00.safetensors", size, digest))
    written_s = time.time() - age_s
    os.utime(path, (written_s, written_s))
    return digest


def test_a_short_disk_gets_room_from_the_oldest_shards_that_nothing_needs(
    vault, tmp_path, monkeypatch
):
    Disk(monkeypatch, tmp_path / "shards", 5500)
    serving, wanted = put(vault, 0, age_s=900), put(vault, 1, age_s=800)
    middle, oldest = put(vault, 2, age_s=300), put(vault, 3, age_s=600)
    newest = put(vault, 4, age_s=100)
    vault.serve([serving])
    vault.find([wanted])
    assert vault.free_bytes == 3500
    put(vault, 5)
    assert vault.held([serving, wanted, middle, newest, oldest]) == [
        *(serving, wanted, middle, newest)
    ]
    put(vault, 6, size=1500)
    assert vault.held([serving, wanted, middle, newest]) == [serving, wanted, newest]


def test_what_stands_by_for_other_nodes_is_the_last_to_make_room(vault, tmp_path, monkeypatch):
    Disk(monkeypatch, tmp_path / "shards", 3500)
    serving, standby = put(vault, 0, age_s=900), put(vault, 1, age_s=800)
    newer = put(vault, 2, age_s=100)
    vault.serve([serving], [standby])
    assert vault.free_bytes == 2500
    put(vault, 3)
    assert vault.held([serving, standby, newer]) == [serving, standby]
    put(vault, 4, size=2500)
    assert vault.held([serving, standby]) == [serving]


def test_a_beginning_that_nothing_needs_makes_room_too(vault, tmp_path, monkeypatch):
    Disk(monkeypatch, tmp_path / "shards", 3000)
    begin(vault, DATA[:2000])
    put(vault, 1, size=2500)
    assert vault.find([DIGEST]) == ([], {})


def test_shards_that_are_needed_are_not_removed_for_others(vault, tmp_path, monkeypatch):
    Disk(monkeypatch, tmp_path / "shards", 4500)
    needed = [put(vault, 0), put(vault, 1)]
    read = put(vault, 2)
    vault.serve(needed[:1])
    vault.find(needed[1:])
    with vault.reading(read, 0, 100) as outgoing:
        with pytest.raises(StoreError, match="room for 1500 bytes, and a shard has 1501"):
            put(vault, 3, size=1501)
        assert b"".join(outgoing.parts) == bytes([2]) * 1000
    put(vault, 3, size=1501)
    assert vault.held([*needed, read]) == needed


def test_transfers_in_flight_have_their_room_reserved(vault, tmp_path, monkeypatch):
    Disk(monkeypatch, tmp_path / "shards", 4000)
    with vault.receiving(DIGEST, len(DATA)) as arrival:
        assert vault.free_bytes == 4000 - len(DATA)
        arrival.write(DATA[:1000])
        assert vault.free_bytes == 4000 - len(DATA)
        with pytest.raises(StoreError, match="room for 1440 bytes, and a shard has 1441"):
            put(vault, 0, size=1441)
        put(vault, 0, size=1440)
        arrival.write(DATA[1000:])
    assert vault.free_bytes == 4000  # both may go, for nobody asked for them


def test_only_the_rest_of_a_shard_needs_room(vault, tmp_path, monkeypatch):
    begin(vault, DATA[:1000])
    Disk(monkeypatch, tmp_path / "shards", len(DATA) - 1)
    with pytest.raises(StoreError, match="room for 1559 bytes, and the rest of a shard has 1560"):
        vault.receive(DIGEST, len(DATA), 1000, [DATA[1000:]])
    Disk(monkeypatch, tmp_path / "shards", len(DATA))
    vault.receive(DIGEST, len(DATA), 1000, [DATA[1000:]])


def test_a_disk_that_is_full_before_its_time_keeps_what_has_come(tmp_path):
    """A limit on the size of files fails as a full disk does: at a write."""
    program = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from hashlib import sha256\n"
        "from pi_cluster.cluster.errors import StoreError\n"
        "from pi_cluster.worker.shards.vault import ShardVault\n"
        "data = bytes(200_000)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (70_000, 70_000))\n"
        "vault = ShardVault(Path(sys.argv[1]))\n"
        "digest = sha256(data).hexdigest()\n"
        "try:\n"
        "    vault.receive(digest, len(data), 0, [data[:50_000], data[50_000:]])\n"
        "except StoreError as error:\n"
        "    print(vault.find([digest])[1][digest], error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.startswith("70000 cannot write "), done
    assert "File too large" in done.stdout and "Make room on this node" in done.stdout


def test_a_shard_is_read_from_any_byte_of_it_and_from_no_other(vault):
    vault.receive(DIGEST, len(DATA), 0, [DATA])
    for offset in (0, 1, 999, len(DATA)):
        with vault.reading(DIGEST, offset, 7) as outgoing:
            assert outgoing.size_bytes == len(DATA)
            assert b"".join(outgoing.parts) == DATA[offset:]
    with pytest.raises(NodeError, match="has no byte 2561"), vault.reading(DIGEST, 2561, 7):
        pass
    with pytest.raises(NodeError, match="is not on this node"), vault.reading("0" * 64, 0, 7):
        pass


def test_a_disk_that_is_nearly_full_has_no_room_rather_than_less_than_none(vault, monkeypatch):
    monkeypatch.setattr(disk_room, "free_disk_bytes", lambda folder: 1000)
    assert vault.free_bytes == 0
