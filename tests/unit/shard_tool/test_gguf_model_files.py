import numpy as np
import pytest

from pi_cluster.cluster.errors import CheckpointError
from pi_cluster.shard_tool.gguf.model_files import find_first, open_model
from tests.support.gguf_bytes import Typed, float32_tensor, gguf_bytes

ONES = float32_tensor(np.ones((2, 4), np.float32))


def part_keys(number, count, total):
    return {
        "split.no": Typed("H", number),
        "split.count": Typed("H", count),
        "split.tensors.count": Typed("i", total),
    }


def write_parts(folder, count=3, stem="fox-Q8_0", identity="fox"):
    """Parts with one tensor each, as llama.cpp's own program for it writes them."""
    folder.mkdir(exist_ok=True)
    paths = []
    for number in range(count):
        keys = part_keys(number, count, count)
        if number == 0:
            keys |= {"general.architecture": "llama", "general.name": identity}
        path = folder / f"{stem}-{number + 1:05}-of-{count:05}.gguf"
        path.write_bytes(gguf_bytes(keys, {f"{stem}.{number}": ONES}))
        paths.append(path)
    return paths


def refusal_of(path):
    with pytest.raises(CheckpointError) as failure:
        open_model(path)
    return str(failure.value)


def test_any_part_names_the_whole_model(tmp_path):
    paths = write_parts(tmp_path)
    for path in paths:
        model = open_model(path)
        assert model.paths == tuple(paths)
        assert model.values["general.name"] == "fox"
        assert {name: where for name, (where, _) in model.tensors.items()} == {
            f"fox-Q8_0.{number}": path for number, path in enumerate(paths)
        }
    assert find_first(tmp_path) == paths[0]


def test_a_single_file_may_say_that_it_is_the_only_part(tmp_path):
    path = tmp_path / "whole.gguf"
    path.write_bytes(gguf_bytes(part_keys(0, 1, 1), {"t": ONES}))
    assert open_model(path).paths == (path,)
    path.write_bytes(gguf_bytes({}, {"t": ONES}))
    assert open_model(path).paths == (path,)
    assert find_first(tmp_path) == path


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_a_part_that_is_missing_is_named_with_where_to_put_it(tmp_path, lost):
    paths = write_parts(tmp_path)
    paths[lost].unlink()
    message = refusal_of(paths[lost - 1])
    assert f"of 3 parts of the model, {tmp_path} lacks {paths[lost].name}" in message
    assert "fetch it into the same folder" in message


def test_a_part_that_is_torn_or_a_pointer_is_named(tmp_path):
    paths = write_parts(tmp_path)
    paths[1].write_bytes(paths[1].read_bytes()[:-40])
    assert f"{paths[1]} is torn" in refusal_of(paths[0])
    paths[1].write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    assert f"{paths[1]} is only a Git LFS pointer" in refusal_of(paths[0])


def test_parts_that_were_exchanged_are_named(tmp_path):
    paths = write_parts(tmp_path)
    second, third = paths[1].read_bytes(), paths[2].read_bytes()
    paths[1].write_bytes(third)
    paths[2].write_bytes(second)
    assert f"{paths[1]} is named as part 2 of 3, and by its keys it is part 3 of 3" in refusal_of(
        paths[0]
    )


def test_a_part_under_the_name_of_a_whole_model_is_named(tmp_path):
    renamed = tmp_path / "fox.gguf"
    write_parts(tmp_path)[1].rename(renamed)
    message = refusal_of(renamed)
    assert "is named as a whole model, and by its keys it is part 2 of 3" in message
    assert "NAME-00001-of-00003.gguf" in message


def test_a_whole_model_under_the_name_of_a_part_is_named(tmp_path):
    paths = write_parts(tmp_path, count=2)
    paths[1].write_bytes(gguf_bytes({}, {"t": ONES}))
    assert f"{paths[1]} is named as part 2 of 2, and by its keys it is a whole" in refusal_of(
        paths[0]
    )


def test_parts_of_two_models_are_told_by_their_tensors(tmp_path):
    paths = write_parts(tmp_path)
    paths[2].write_bytes(gguf_bytes(part_keys(2, 3, 3), {"fox-Q8_0.1": ONES}))
    assert "tensor 'fox-Q8_0.1' is both in" in refusal_of(paths[0])
    paths[2].write_bytes(gguf_bytes(part_keys(2, 3, 3), {"a": ONES, "b": ONES}))
    message = refusal_of(paths[0])
    assert "have 4 tensors, and by its split.tensors.count the model has 3" in message
    keys = part_keys(2, 3, 3) | {"general.name": "owl"}
    paths[2].write_bytes(gguf_bytes(keys, {"fox-Q8_0.2": ONES}))
    assert "is of another model than" in refusal_of(paths[0])
    assert "its general.name is 'owl', not 'fox'" in refusal_of(paths[0])


@pytest.mark.parametrize("name", ["a-00000-of-00002.gguf", "a-00003-of-00002.gguf"])
def test_a_number_that_no_part_has_is_named(tmp_path, name):
    (tmp_path / name).write_bytes(gguf_bytes({}))
    assert "is named as part" in refusal_of(tmp_path / name)


def test_absurdly_many_parts_are_not_looked_for(tmp_path):
    (tmp_path / "a-00001-of-99999.gguf").write_bytes(gguf_bytes({}))
    assert "there can be 1 to 512" in refusal_of(tmp_path / "a-00001-of-99999.gguf")


@pytest.mark.parametrize("value", ["2", 2.0, [], np.array([1], np.int32)])
def test_keys_of_parts_that_are_no_numbers_are_refused(tmp_path, value):
    path = tmp_path / "a.gguf"
    path.write_bytes(gguf_bytes({"split.count": value, "split.no": value}, {"t": ONES}))
    assert "it must be a whole number" in refusal_of(path)


def test_a_folder_with_several_models_says_which_to_name(tmp_path):
    write_parts(tmp_path, stem="fox-Q8_0")
    write_parts(tmp_path, stem="fox-Q4_K_M", count=2)
    (tmp_path / "owl.gguf").write_bytes(b"")
    with pytest.raises(CheckpointError) as failure:
        find_first(tmp_path)
    assert str(failure.value) == (
        f"{tmp_path} has several models in GGUF: name one, as in "
        f"{tmp_path / 'fox-Q4_K_M-00001-of-00002.gguf'}. There are "
        "fox-Q4_K_M-00001-of-00002.gguf, fox-Q8_0-00001-of-00003.gguf, owl.gguf"
    )


def test_the_encoder_of_images_beside_a_model_is_not_the_model(tmp_path):
    (tmp_path / "mmproj-f16.gguf").write_bytes(b"")
    (tmp_path / "model.gguf").write_bytes(b"")
    assert find_first(tmp_path) == tmp_path / "model.gguf"
    (tmp_path / "model.gguf").unlink()
    assert find_first(tmp_path) == tmp_path / "mmproj-f16.gguf"
    assert find_first(tmp_path / "..") is None
