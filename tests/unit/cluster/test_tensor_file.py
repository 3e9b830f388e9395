import json
from hashlib import sha256

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

from pi_cluster.cluster.errors import StoreError
from pi_cluster.cluster.store.tensor_file import ALIGNMENT, PADDING_PREFIX, TensorFile
from pi_cluster.cluster.store.tensor_writing import (
    TensorSource,
    file_size_bytes,
    write_tensor_file,
)
from tests.support.checkpoints import write_safetensors

DTYPES = {"F32": np.float32, "F16": np.float16, "U8": np.uint8}


def source(name, array, block_rows=2):
    blocks = [array[at : at + block_rows] for at in range(0, len(array), block_rows)]
    dtype = next(code for code, dtype in DTYPES.items() if array.dtype == dtype)
    return TensorSource(name, dtype, array.shape, blocks)


def raw_file(path, header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


arrays = st.builds(
    lambda shape, dtype, seed: np.random.default_rng(seed).integers(0, 200, shape).astype(dtype),
    st.lists(st.integers(0, 9), min_size=1, max_size=3).map(tuple),
    st.sampled_from(list(DTYPES.values())),
    st.integers(0, 99),
)


@settings(max_examples=60)
@given(st.lists(arrays, max_size=6))
def test_what_is_written_is_aligned_and_read_equally_by_the_safetensors_library(
    tmp_path_factory, tensors
):
    path = tmp_path_factory.mktemp("written") / "t.safetensors"
    named = {f"t{number}": tensor for number, tensor in enumerate(tensors)}
    sources = [source(name, tensor) for name, tensor in named.items()]
    written = write_tensor_file(path, sources)
    assert written.size_bytes == path.stat().st_size == file_size_bytes(sources)
    theirs = load_file(path)
    with TensorFile(path) as file:
        assert sorted(file.names) == sorted(named)
        for name, tensor in named.items():
            assert file.info(name).offset % ALIGNMENT == 0
            for found in (file.map(name), theirs[name]):
                assert found.dtype == tensor.dtype
                np.testing.assert_array_equal(found, tensor)
    hidden = theirs.keys() - named.keys()
    assert all(name.startswith(PADDING_PREFIX) for name in hidden)


def test_the_returned_hash_is_that_of_the_file(tmp_path):
    path = tmp_path / "t.safetensors"
    written = write_tensor_file(path, [source("a", np.ones((5, 3), np.float32))])
    assert written.sha256 == sha256(path.read_bytes()).hexdigest()


def test_mapped_arrays_share_the_file_cannot_be_written_and_outlive_it(tmp_path):
    path = tmp_path / "t.safetensors"
    write_tensor_file(path, [source("a", np.arange(6, dtype=np.float32).reshape(2, 3))])
    with TensorFile(path) as file:
        view = file.map("a")
        assert not view.flags.owndata
        assert not view.flags.writeable
        with path.open("r+b") as raw:
            raw.seek(file.info("a").offset)
            raw.write(np.float32(7).tobytes())
    assert view[0, 0] == 7
    assert view[1, 2] == 5


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_rows_of_every_float_dtype_are_read_as_float32(tmp_path, dtype):
    values = (np.arange(-60, 60).reshape(20, 6) / 8).astype(np.float32)
    write_safetensors(tmp_path / "t", {"first": values[:1], "a": values}, dtype)
    with TensorFile(tmp_path / "t") as file:
        rows = file.read_rows("a", 3, 17)
        assert rows.dtype == np.float32
        np.testing.assert_array_equal(rows, values[3:17])
        assert file.read_rows("a", 20, 20).shape == (0, 6)


def test_bfloat16_keeps_sign_infinity_and_subnormals(tmp_path):
    bits = np.array([0x8000, 0x7F80, 0xFF80, 0x0001, 0x3F80], np.uint32) << 16
    values = bits.view(np.float32)
    write_safetensors(tmp_path / "t", {"a": values}, "bfloat16")
    with TensorFile(tmp_path / "t") as file:
        assert file.read_rows("a", 0, 5).tobytes() == values.tobytes()


@pytest.mark.parametrize("dtype", ["I64", "F8_E4M3"])
def test_rows_of_another_dtype_are_refused_naming_tensor_and_dtype(tmp_path, dtype):
    size = 8 if dtype == "I64" else 1
    entry = {"dtype": dtype, "shape": [1], "data_offsets": [0, size]}
    path = raw_file(tmp_path / "t", {"odd": entry}, bytes(size))
    with TensorFile(path) as file, pytest.raises(StoreError, match=rf"'odd'.*{dtype}"):
        file.read_rows("odd", 0, 1)


def test_a_dtype_nobody_knows_is_refused_on_opening_naming_tensor_and_dtype(tmp_path):
    entry = {"dtype": "Q9", "shape": [1], "data_offsets": [0, 1]}
    with pytest.raises(StoreError, match=r"'odd'.*Q9"):
        TensorFile(raw_file(tmp_path / "t", {"odd": entry}, b"1"))


def test_bfloat16_cannot_be_mapped_as_numpy_lacks_it(tmp_path):
    write_safetensors(tmp_path / "t", {"a": np.zeros((2, 2), np.float32)}, "bfloat16")
    with TensorFile(tmp_path / "t") as file, pytest.raises(StoreError, match=r"'a'.*BF16"):
        file.map("a")


def test_a_tensor_that_is_not_there_is_named(tmp_path):
    write_safetensors(tmp_path / "t", {"a": np.zeros((2, 2), np.float32)})
    with TensorFile(tmp_path / "t") as file, pytest.raises(StoreError, match="'b'"):
        file.info("b")


@pytest.mark.parametrize("kept", [0, 4, 8, 30, -1])
def test_a_file_cut_short_anywhere_is_refused_by_name(tmp_path, kept):
    path = tmp_path / "cut.safetensors"
    write_safetensors(path, {"a": np.zeros((4, 4), np.float32)})
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(StoreError, match=r"cut\.safetensors"):
        TensorFile(path)


def test_a_file_that_shrinks_while_open_is_an_error_and_no_crash(tmp_path):
    path = tmp_path / "cut.safetensors"
    write_safetensors(path, {"a": np.zeros((4, 4), np.float32)})
    with TensorFile(path) as file:
        path.write_bytes(path.read_bytes()[:-8])
        with pytest.raises(StoreError, match="shorter"):
            file.read_rows("a", 0, 4)
        with pytest.raises(StoreError, match="shorter"):
            file.map("a")


@pytest.mark.parametrize(
    "header",
    [
        b"not json",
        b"[]",
        b'"text"',
        b"[" * 100_000,
        b"\xff\xfe",
        {"a": 1},
        {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}},
        {"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}},
        {"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}},
        {"a": {"dtype": "F32", "shape": [2**62, 2**62], "data_offsets": [0, 8]}},
        {"a": {"dtype": ["F32"], "shape": [1], "data_offsets": [0, 4]}},
        {"a": {"dtype": "F32", "shape": [1]}},
    ],
)
def test_a_forged_header_is_refused_by_the_files_name(tmp_path, header):
    with pytest.raises(StoreError, match=r"forged\.safetensors"):
        TensorFile(raw_file(tmp_path / "forged.safetensors", header, bytes(8)))


@settings(max_examples=300)
@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=4), st.integers(0, 9))
def test_no_damage_to_a_header_gives_anything_but_a_store_error(tmp_path_factory, changes, cut):
    path = tmp_path_factory.mktemp("fuzz") / "t"
    tensors = {"a": np.ones((3, 5), np.float32), "b": np.ones(7, np.float32)}
    write_safetensors(path, tensors, "float16")
    data = bytearray(path.read_bytes())
    for at, value in changes:
        data[at % len(data)] = value
    path.write_bytes(data[: len(data) - cut])
    try:
        with TensorFile(path) as file:
            for name in file.names:
                assert file.map(name).nbytes == file.info(name).size_bytes
    except StoreError:
        pass


def test_a_source_that_fails_leaves_no_file_behind(tmp_path):
    def blocks():
        yield np.zeros((1, 4), np.float32)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_tensor_file(tmp_path / "t", [TensorSource("a", "F32", (2, 4), blocks())])
    assert list(tmp_path.iterdir()) == []


def test_an_older_file_stays_whole_until_the_new_one_is(tmp_path):
    path = tmp_path / "t"
    write_tensor_file(path, [source("a", np.ones((2, 2), np.float32))])
    before = path.read_bytes()

    def blocks():
        assert path.read_bytes() == before
        yield np.zeros((2, 2), np.float32)

    write_tensor_file(path, [TensorSource("a", "F32", (2, 2), blocks())])
    assert path.read_bytes() != before


def test_a_folder_that_is_not_there_is_a_store_error_naming_the_file(tmp_path):
    with pytest.raises(StoreError, match=r"gone/t.*run the same command again"):
        write_tensor_file(tmp_path / "gone" / "t", [])
