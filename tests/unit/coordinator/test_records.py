"""What this machine remembers of a cluster: torn files are named, with what to do about them."""

import pytest

from pi_cluster.cluster import settings
from pi_cluster.cluster.errors import StateError, VersionError
from pi_cluster.coordinator.records.kept_record import has_record, load_record
from pi_cluster.coordinator.records.known_hosts import Host, KnownHost, load_hosts, save_hosts
from pi_cluster.coordinator.records.known_nodes import known_nodes

READERS = {
    "hosts.json": (load_hosts, "--hosts again"),
    "addresses.json": (known_nodes, "remove it"),
    "pipeline.json": (load_record, "bring the pipeline up again"),
}
TORN = (b"", b"{", b"[]", b'{"version": 1}', b'{"version": "one"}', b'{"a": ' + b"[" * 100_000)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    made = settings.cluster_state("records")
    made.mkdir(parents=True)
    return made


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("data", TORN, ids=lambda data: data[:20].decode())
def test_a_torn_file_is_named_with_the_next_step(folder, name, data):
    read, next_step = READERS[name]
    (folder / name).write_bytes(data)
    with pytest.raises(StateError, match=rf"{name} cannot be read \(") as told:
        read("records")
    assert next_step in str(told.value)


@pytest.mark.parametrize("name", READERS)
def test_a_newer_file_is_left_to_a_newer_pi_cluster(folder, name):
    (folder / name).write_text('{"version": 2, "what": "we do not know"}')
    with pytest.raises(VersionError, match=rf"{name} was written by a newer pi-cluster"):
        READERS[name][0]("records")


def test_a_record_that_the_system_does_not_let_us_read_is_none(folder):
    (folder / "pipeline.json").mkdir()
    assert has_record("records")
    with pytest.raises(StateError, match=r"pipeline\.json: Is a directory"):
        load_record("records")


def test_hosts_are_remembered_and_forgotten(folder):
    known = [KnownHost(Host("pi1", "pi", threads=3), "10.0.0.1:7711", "a1"), KnownHost(Host("pi2"))]
    assert load_hosts("records") == []
    save_hosts(folder, known)
    assert load_hosts("records") == known
    save_hosts(folder, [])
    assert load_hosts("records") == [] and not (folder / "hosts.json").exists()
