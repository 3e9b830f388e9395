import re
import struct
import tracemalloc

import gguf
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pi_cluster.cluster.errors import CheckpointError
from pi_cluster.shard_tool.gguf.ggml_types import TYPES
from pi_cluster.shard_tool.gguf.header import read_header
from tests.support.gguf_bytes import (
    TensorBytes,
    Typed,
    float32_tensor,
    gguf_bytes,
    text,
    value_bytes,
)

ONES = float32_tensor(np.ones((2, 4), np.float32))
SOUND = {"general.architecture": "llama", "count": 3, "names": ["a", "é"], "is": True}
MOST_BYTES_HELD = 40_000_000


def keys_begin(count):
    """A header up to its first key, of which it claims so many."""
    return gguf_bytes({}, n_keys=count)[:24]


def read(tmp_path, data):
    path = tmp_path / "model.gguf"
    path.write_bytes(data)
    return read_header(path)


def refusal_of(tmp_path, data):
    with pytest.raises(CheckpointError) as failure:
        read(tmp_path, data)
    assert str(tmp_path / "model.gguf") in str(failure.value)
    return str(failure.value)


def test_every_format_has_the_size_that_ggml_gives_it():
    known = {type_.number: (type_.block_columns, type_.block_bytes) for type_ in TYPES.values()}
    # ggml.h has two halves and 32 levels in a block of Q8_1; the package is behind.
    theirs = gguf.constants.GGML_QUANT_SIZES | {TYPES[9].number: (32, 36)}
    assert known == {int(number): sizes for number, sizes in theirs.items()}
    assert all(gguf.GGMLQuantizationType[t.name] == t.number for t in TYPES.values())


def test_a_file_of_the_gguf_package_is_read_as_it_was_written(tmp_path):
    path = tmp_path / "model.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    numbers = {"u8": 7, "i8": -7, "u16": 600, "i16": -600, "u32": 70_000, "i32": -70_000}
    numbers |= {"u64": 1 << 40, "i64": -(1 << 40), "f32": 0.5, "f64": 0.1}
    adders = {"u": "uint", "i": "int", "f": "float"}
    for name, value in numbers.items():
        getattr(writer, f"add_{adders[name[0]]}{name[1:]}")(name, value)
    writer.add_bool("flag", True)
    writer.add_array("names", ["Ġthe", "", "☃"])
    writer.add_array("scores", [0.5, -1.0])
    writer.add_array("types", [1, 3])
    vector, matrix = np.arange(5, dtype=np.float32), np.ones((3, 64), np.float32)
    writer.add_tensor("vector", vector)
    quantised = gguf.quantize(matrix, gguf.GGMLQuantizationType.Q8_0)
    writer.add_tensor("matrix", quantised, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()

    header = read_header(path)
    assert {name: header.values[name] for name in numbers} == numbers
    assert header.values["flag"] is True
    assert header.values["names"] == ["Ġthe", "", "☃"]
    assert header.values["scores"].tolist() == [0.5, -1.0]
    assert header.values["types"].tolist() == [1, 3]
    places = header.tensors
    assert (places["vector"].shape, places["vector"].dtype) == ((5,), "F32")
    assert (places["matrix"].shape, places["matrix"].dtype) == ((3, 64), "Q8_0")
    data = path.read_bytes()
    for name, array in (("vector", vector), ("matrix", quantised)):
        place = places[name]
        assert data[place.offset : place.offset + place.size_bytes] == array.tobytes()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is empty"),
        (b"GG", "is no GGUF"),
        (b"GGUF\3\0", "is torn"),
        (b"\x89PNG\r\n\x1a\n" + bytes(64), "is no GGUF"),
        (gguf_bytes(SOUND, magic=b"tjgg"), "before GGUF.*fetch a newer GGUF"),
        (gguf_bytes(SOUND, version=1), "version 1, of 2023: fetch a newer GGUF"),
        (gguf_bytes(SOUND, version=4), "version 4; versions 2 and 3 are read"),
        (gguf_bytes(SOUND, version=3 << 24), "for big-endian machines"),
        (gguf_bytes(SOUND, version=0), "version 0"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_file_of_another_kind_is_named_with_what_to_fetch(tmp_path, data, said):
    with pytest.raises(CheckpointError, match=said):
        read(tmp_path, data)


@pytest.mark.parametrize("length", range(4, len(gguf_bytes(SOUND, {"t": ONES})), 3))
def test_a_file_that_is_cut_anywhere_is_torn(tmp_path, length):
    whole = gguf_bytes(SOUND, {"t": ONES})
    assert "is torn" in refusal_of(tmp_path, whole[:length])


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (gguf_bytes(SOUND, n_keys=1 << 63), "claims 9223372036854775808 keys"),
        (gguf_bytes(SOUND, n_tensors=1 << 62), "claims 4611686018427387904 tensors"),
        (keys_begin(1) + struct.pack("<Q", 1 << 60), "would have 1152921504606846976"),
        (gguf_bytes({"k": b"\xff\xfe"}), "k is not UTF-8"),
        (gguf_bytes({"k": [b"ok", b"\xc3"]}), "an entry of k is not UTF-8"),
        (keys_begin(1) + text(b"\xff") + value_bytes(1), "name of key 0 is not UTF-8"),
        (keys_begin(1) + text("k") + struct.pack("<I", 13), "type 13"),
        (keys_begin(1) + text("k") + struct.pack("<II", 9, 9) + bytes(8), "of lists"),
        (keys_begin(2) + (text("k") + value_bytes(1)) * 2, "the key 'k' twice"),
        (gguf_bytes({"general.alignment": 0}), "general.alignment is 0"),
        (gguf_bytes({"general.alignment": 48}), "general.alignment is 48"),
        (gguf_bytes({"general.alignment": 1 << 31}), "general.alignment is 2147483648"),
        (gguf_bytes({"general.alignment": "32"}), "general.alignment is '32'"),
        (gguf_bytes({"general.alignment": Typed("i", -32)}), "general.alignment is -32"),
        (gguf_bytes({}, {"t": ONES}, offsets={"t": 8}), "'t' is not at a multiple of 32"),
        (gguf_bytes({}, {"t": ONES, "u": ONES}, offsets={"u": 0}), "lie over each other"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_no_sound_file_has_is_named(tmp_path, data, said):
    message = refusal_of(tmp_path, data)
    assert said in message
    assert message.endswith("Fetch it again")


@pytest.mark.parametrize("count", [1 << 20, 1 << 40, (1 << 64) - 1])
@pytest.mark.parametrize("kind", [0, 8, 12])
def test_a_list_is_not_longer_than_the_file(tmp_path, kind, count):
    head = keys_begin(1) + text("k") + struct.pack("<IIQ", 9, kind, count)
    assert re.search("with k,|k lists|entry of k", refusal_of(tmp_path, head + bytes(1000)))


@pytest.mark.parametrize("shape", [(), (1,) * 5, (0,), (1 << 40,), (4, 1 << 33)])
def test_a_shape_that_no_tensor_has_is_named(tmp_path, shape):
    tensor = TensorBytes("F32", shape, np.zeros((1, 4), np.uint8))
    assert "tensor 't' has" in refusal_of(tmp_path, gguf_bytes({}, {"t": tensor}))


def test_sides_whose_product_overflows_end_behind_the_file(tmp_path):
    tensor = TensorBytes("F32", (1 << 32,) * 4, np.zeros((1, 4), np.uint8))
    assert "is torn: tensor 't' would end" in refusal_of(tmp_path, gguf_bytes({}, {"t": tensor}))


def test_rows_that_are_no_whole_blocks_are_named(tmp_path):
    tensor = TensorBytes("Q4_K", (2, 128), np.zeros((2, 72), np.uint8))
    assert "Q4_K has blocks of 256" in refusal_of(tmp_path, gguf_bytes({}, {"t": tensor}))


@pytest.mark.parametrize("number", [4, 31, 999])
def test_a_format_that_is_not_known_is_named_with_what_to_fetch(tmp_path, number):
    data = bytearray(gguf_bytes({}, {"t": ONES}))
    at = data.index(text("t")) + 9 + 4 + 16
    data[at : at + 4] = struct.pack("<I", number)
    message = refusal_of(tmp_path, bytes(data))
    assert f"'t' of {tmp_path / 'model.gguf'} is of format {number}" in message
    assert "Q4_K_M" in message


def test_a_folder_and_a_file_that_is_not_there_are_named(tmp_path):
    for path in (tmp_path, tmp_path / "none.gguf"):
        with pytest.raises(CheckpointError, match=f"cannot read {path}"):
            read_header(path)


def test_alignment_of_the_file_is_that_of_its_tensors(tmp_path):
    data = gguf_bytes({"general.alignment": 256}, {"t": ONES, "u": ONES}, alignment=256)
    header = read(tmp_path, data)
    assert [place.offset % 256 for place in header.tensors.values()] == [0, 0]
    place = header.tensors["u"]
    assert data[place.offset : place.offset + place.size_bytes] == ONES.data.tobytes()


def test_many_empty_texts_do_not_fill_the_memory(tmp_path):
    head = keys_begin(1) + text("k") + struct.pack("<IIQ", 9, 8, 5_000_000)
    (tmp_path / "model.gguf").write_bytes(head + bytes(40_000_000))
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError, match="4000000 in all are read"):
            read_header(tmp_path / "model.gguf")
        assert tracemalloc.get_traced_memory()[1] < MOST_BYTES_HELD
    finally:
        tracemalloc.stop()


WHOLE = gguf_bytes(
    SOUND | {"types": np.array([1, 2], np.int32), "f": 0.5},
    {"t": ONES, "q": TensorBytes("Q8_0", (3, 64), np.ones((3, 68), np.uint8))},
)


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.lists(
        st.tuples(
            st.integers(0, len(WHOLE) - 1),
            st.one_of(st.binary(min_size=1, max_size=8), st.sampled_from([b"\xff" * 8, bytes(8)])),
        ),
        min_size=1,
        max_size=4,
    ),
    cut=st.integers(0, len(WHOLE)),
)
def test_whatever_is_changed_in_a_file_it_is_read_or_refused_by_name(tmp_path, changes, cut):
    data = bytearray(WHOLE)
    for at, new in changes:
        data[at : at + len(new)] = new
    data = data[:-cut] if cut % 2 else data
    path = tmp_path / "model.gguf"
    path.write_bytes(data)
    try:
        header = read_header(path)
    except CheckpointError as error:
        assert str(path) in str(error)
        return
    for place in header.tensors.values():
        assert 0 < place.offset <= place.offset + place.size_bytes <= len(data)
