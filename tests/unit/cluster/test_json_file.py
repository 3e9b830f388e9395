"""Small JSON files: what is torn, too new or too large is an error that names the file."""

import json
import os

import pytest

from pi_cluster.cluster.errors import ClusterError, StateError, SystemFailure, VersionError
from pi_cluster.cluster.json_file import JsonFile


def count_of(values):
    if values["count"] < 0:
        raise ClusterError("count is below 0")
    return int(values["count"])


@pytest.fixture
def file(tmp_path):
    return JsonFile(tmp_path / "things.json", "remove it", version=2, most_bytes=10_000)


def test_what_was_written_is_read_again(file):
    assert file.read(count_of) is None
    file.write({"count": 3})
    assert file.read(count_of) == 3
    assert json.loads(file.path.read_bytes()) == {"version": 2, "count": 3}
    file.remove()
    file.remove()
    assert file.read(count_of) is None


def test_a_private_file_is_its_owners_alone(file, tmp_path):
    file.write({})
    assert file.path.stat().st_mode & 0o044 == 0o044 & ~umask()
    private = JsonFile(tmp_path / "secret.json", "", is_private=True)
    private.write([1])
    assert private.path.stat().st_mode & 0o777 == 0o600
    assert private.path.read_text() == "[\n 1\n]\n"


def umask():
    before = os.umask(0o022)
    os.umask(before)
    return before


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "Expecting value"),
        (b"{", "Expecting"),
        (b"\xff", "utf-8"),
        (b"7", "subscriptable"),
        (b"[]", "indices"),
        (b"{}", "it lacks 'version'"),
        (b'{"version": 2}', "it lacks 'count'"),
        (b'{"version": "2", "count": 1}', "its version is '2'"),
        (b'{"version": true, "count": 1}', "its version is True"),
        (b'{"version": 0, "count": 1}', "its version is 0"),
        (b'{"version": 2, "count": null}', "not supported"),
        (b'{"version": 2, "count": -1}', "count is below 0"),
        (b'{"version": 2, "count": 1e999}', "infinity"),
        (b'{"version": 2, "count": ' + b"[" * 4_000 + b"]" * 4_000 + b"}", "nested too deeply"),
        (b'{"version": 2, "count": 1}' + b" " * 10_000, "more than 10000 bytes"),
    ],
)
def test_a_torn_file_is_named_with_the_reason_and_the_next_step(file, data, reason):
    file.path.write_bytes(data)
    with pytest.raises(StateError, match=r"things\.json cannot be read \(.*\): remove it$") as told:
        file.read(count_of)
    assert reason in str(told.value)


def test_a_file_of_a_newer_pi_cluster_is_told_apart_from_a_torn_one(file):
    file.path.write_text('{"version": 3, "things": []}')
    with pytest.raises(VersionError, match=r"things\.json was written by a newer pi-cluster"):
        file.read(count_of)


def test_a_file_of_an_older_version_is_for_the_reader_to_understand(file):
    file.path.write_text('{"version": 1, "count": 4}')
    assert file.read(count_of) == 4


def test_what_the_system_does_not_let_us_read_is_a_failure_of_the_system(file):
    file.path.mkdir()
    with pytest.raises(SystemFailure, match=r"things\.json: Is a directory"):
        file.read(count_of)
