"""model.safetensors.index.json that is torn, foreign or hostile: a name for what is wrong."""

import json
import shutil
from contextlib import ExitStack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pi_cluster.cluster.errors import CheckpointError
from pi_cluster.shard_tool.sources.hugging_face import INDEX_NAME, open_files
from tests.support.checkpoints import write_hugging_face_checkpoint
from tests.support.json_values import json_values


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sharded")
    write_hugging_face_checkpoint(folder, shards=3)
    shutil.copy(folder / INDEX_NAME, folder / "index-as-written")
    return folder


@pytest.fixture(scope="module")
def whole(folder):
    """The index as it was written, whatever tests have put in its place since."""
    return (folder / "index-as-written").read_bytes()


def opened(folder, data):
    """The names of the tensors by this index; ``CheckpointError`` names what is wrong."""
    (folder / INDEX_NAME).write_bytes(data)
    with ExitStack() as stack:
        return set(open_files(folder, stack))


@settings(max_examples=300)
@given(values=json_values)
def test_any_json_in_the_place_of_the_index_is_a_named_error(folder, values):
    with pytest.raises(CheckpointError, match="index"):
        opened(folder, json.dumps(values).encode())


@settings(max_examples=300)
@given(where=st.integers(0, 10**6), byte=st.integers(0, 255), cut=st.booleans())
def test_a_byte_that_changed_or_a_cut_is_a_named_error_or_the_same_tensors(
    folder, whole, where, byte, cut
):
    names = opened(folder, whole)
    at = where % len(whole)
    data = whole[:at] if cut else whole[:at] + bytes([byte]) + whole[at + 1 :]
    try:
        assert opened(folder, data) <= names
    except CheckpointError as error:
        assert str(folder) in str(error)


@pytest.mark.parametrize(
    "name", ["../outside.safetensors", "/etc/passwd", "", ".", "a/b", "a\x00b", "x" * 300, 7, None]
)
def test_a_file_outside_the_folder_is_never_opened(folder, whole, name):
    index = json.loads(whole)
    index["weight_map"]["model.norm.weight"] = name
    with pytest.raises(CheckpointError, match="index"):
        opened(folder, json.dumps(index).encode())


def test_an_index_of_too_many_files_is_refused_by_their_number(folder):
    index = {"weight_map": {f"t{i}": f"model-{i}.safetensors" for i in range(600)}}
    with pytest.raises(CheckpointError, match="600 files; at most 512"):
        opened(folder, json.dumps(index).encode())
