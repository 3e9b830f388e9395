"""The shards on a node's disk: only the right bytes, under their own digest, nowhere else."""

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.errors import NodeError, StoreError
from cluster.manifest import ShardFile
from worker import vault as vault_module
from worker.vault import ShardVault

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
    vault.receive(DIGEST, len(DATA), [DATA[:1000], b"", DATA[1000:]])
    assert vault.held([DIGEST, "0" * 64]) == [DIGEST]
    assert vault.path_of(SHARD).read_bytes() == DATA
    assert files_below(tmp_path) == [f"shards/{DIGEST}.safetensors"]


def test_a_shard_of_no_bytes_is_kept(vault):
    digest = sha256(b"").hexdigest()
    vault.receive(digest, 0, [])
    assert vault.held([digest]) == [digest]


def test_a_shard_survives_a_restart(vault, tmp_path):
    vault.receive(DIGEST, len(DATA), [DATA])
    assert ShardVault(tmp_path / "shards").held([DIGEST]) == [DIGEST]


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ([DATA[:-1] + b"\0"], "arrived changed"),
        ([DATA[:-1]], "arrived changed"),
        ([], "arrived changed"),
        ([DATA, b"\0"], "came with more than that"),
        ([DATA + b"\0"], "came with more than that"),
    ],
    ids=["one byte wrong", "too short", "nothing", "a part too many", "a part too long"],
)
def test_a_shard_of_other_bytes_is_refused_and_leaves_nothing(vault, tmp_path, parts, reason):
    with pytest.raises(StoreError, match=reason):
        vault.receive(DIGEST, len(DATA), parts)
    assert vault.held([DIGEST]) == []
    assert files_below(tmp_path) == []


def test_the_right_bytes_with_another_size_are_refused(vault, tmp_path):
    with pytest.raises(StoreError, match="arrived changed"):
        vault.receive(DIGEST, len(DATA) + 1, [DATA])
    assert files_below(tmp_path) == []


def test_a_sender_that_breaks_off_leaves_nothing(vault, tmp_path):
    def parts() -> Iterator[bytes]:
        yield DATA[:100]
        raise ConnectionError("the cable is out")

    with pytest.raises(ConnectionError):
        vault.receive(DIGEST, len(DATA), parts())
    assert files_below(tmp_path) == []
    vault.receive(DIGEST, len(DATA), [DATA])
    assert vault.held([DIGEST]) == [DIGEST]


def test_a_refused_shard_does_not_replace_the_one_that_is_held(vault):
    vault.receive(DIGEST, len(DATA), [DATA])
    with pytest.raises(StoreError):
        vault.receive(DIGEST, len(DATA), [b"x" * len(DATA)])
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
        vault.receive(name, len(DATA), [DATA])
    with pytest.raises(NodeError, match="64 hexadecimal digits"):
        vault.held([name])
    assert files_below(tmp_path) == []


@settings(max_examples=100, deadline=None, derandomize=True)
@given(name=st.text(alphabet="0a./\\\n\0~", min_size=60, max_size=68))
def test_no_text_but_a_digest_names_a_file(tmp_path_factory, name):
    folder = tmp_path_factory.getbasetemp() / "named"
    vault = ShardVault(folder)
    if len(name) == 64 and set(name) <= set("0a"):
        assert vault.held([name]) == []
    else:
        with pytest.raises(NodeError):
            vault.held([name])


def test_leftovers_of_a_killed_worker_are_removed_at_the_start_and_shards_are_not(tmp_path):
    folder = tmp_path / "shards"
    ShardVault(folder).receive(DIGEST, len(DATA), [DATA])
    (folder / f"{'0' * 64}.safetensors.partial").write_bytes(b"half")
    ShardVault(folder)
    assert files_below(folder) == [f"{DIGEST}.safetensors"]


def test_a_shard_that_is_missing_is_named_with_the_command_that_sends_it(vault):
    with pytest.raises(StoreError) as refusal:
        vault.path_of(SHARD)
    assert "layer-07.safetensors is not on this node" in str(refusal.value)
    assert "pi-cluster up" in str(refusal.value)


@pytest.mark.parametrize("size", [0, len(DATA) - 1, len(DATA) + 1])
def test_a_shard_that_lost_its_size_is_removed_and_named(vault, size):
    vault.receive(DIGEST, len(DATA), [DATA])
    path = vault.path_of(SHARD)
    path.write_bytes(bytes(size))
    with pytest.raises(StoreError, match=rf"layer-07.safetensors has {size} bytes and was removed"):
        vault.path_of(SHARD)
    assert not path.exists()
    assert vault.held([DIGEST]) == []


def test_pruning_removes_the_shards_of_other_stores_and_nothing_else(vault, tmp_path):
    other = b"another store"
    vault.receive(DIGEST, len(DATA), [DATA])
    vault.receive(sha256(other).hexdigest(), len(other), [other])
    (tmp_path / "shards" / "notes.txt").write_text("mine")
    vault.prune({DIGEST})
    assert files_below(tmp_path / "shards") == sorted([f"{DIGEST}.safetensors", "notes.txt"])
    vault.prune(set())
    assert files_below(tmp_path / "shards") == ["notes.txt"]


def test_a_shard_larger_than_the_disk_is_refused_before_a_byte_is_read(vault, monkeypatch):
    margin = 64 << 20
    monkeypatch.setattr(vault_module, "free_disk_bytes", lambda folder: margin + len(DATA) - 1)
    unread = iter([DATA])
    with pytest.raises(StoreError, match=f"room for {len(DATA) - 1} bytes, and a shard has 2560"):
        vault.receive(DIGEST, len(DATA), unread)
    assert next(unread) == DATA
    monkeypatch.setattr(vault_module, "free_disk_bytes", lambda folder: margin + len(DATA))
    vault.receive(DIGEST, len(DATA), [DATA])


def test_a_disk_that_is_nearly_full_has_no_room_rather_than_less_than_none(vault, monkeypatch):
    monkeypatch.setattr(vault_module, "free_disk_bytes", lambda folder: 1000)
    assert vault.free_bytes == 0
