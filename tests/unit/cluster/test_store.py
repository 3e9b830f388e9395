import contextlib
import json
import shutil
from dataclasses import replace
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pi_cluster.cluster.errors import StoreError, VersionError
from pi_cluster.cluster.store.manifest import Manifest, ShardFile, layer_file_name
from pi_cluster.cluster.store.store import Store, hash_file
from pi_cluster.cluster.store.tensor_formats import StoreFormats

CONTENT = {
    "tokenizer.model": b"pieces",
    "embedding.safetensors": b"embedding" * 300_000,
    "layer-00.safetensors": b"zero",
    "layer-01.safetensors": b"one",
    "head.safetensors": b"",
}


OF_A_LAYER = {"attention_norm.weight": "f32", "attention.wq.weight": "q4"}


def make_manifest(content=CONTENT):
    n_layers = sum(name.startswith("layer-") for name in content)
    files = [ShardFile(name, len(data), sha256(data).hexdigest()) for name, data in content.items()]
    return Manifest(
        weights="q4",
        outer_weights="q8",
        config={"dim": 64, "norm_eps": 1e-5, "window": None},
        bos_id=1,
        eos_ids=(2, 7),
        files=tuple(files),
        tokenizer_name="tokenizer.model.v3",
        formats=StoreFormats(
            embedding={"tok_embeddings.weight": "q8"},
            layers=(OF_A_LAYER,) * n_layers,
            head={"norm.weight": "f32", "output.weight": "q8"},
        ),
    )


@pytest.fixture
def folder(tmp_path):
    for name, data in CONTENT.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "manifest.json").write_text(make_manifest().to_json())
    return tmp_path


def test_a_manifest_survives_json_and_keeps_its_digest():
    manifest = make_manifest()
    again = Manifest.from_json(manifest.to_json())
    assert again == manifest
    assert again.digest == manifest.digest


def test_equal_layers_are_one_entry_of_the_formats():
    layers = (OF_A_LAYER, OF_A_LAYER, OF_A_LAYER | {"attention.wq.weight": "q4k"}, OF_A_LAYER)
    formats = StoreFormats({"a": "f32"}, layers, {"b": "q4_1"})
    values = formats.to_dict()
    assert [entry["count"] for entry in values["layers"]] == [2, 1, 1]
    assert StoreFormats.from_dict(json.loads(json.dumps(values))) == formats


def test_a_manifest_of_version_1_keeps_its_text_and_digest():
    older = replace(make_manifest(), formats=None)
    assert json.loads(older.to_json())["version"] == 1
    assert "formats" not in json.loads(older.to_json())
    assert Manifest.from_json(older.to_json()) == older


@pytest.mark.parametrize(
    "formats",
    [
        None,
        {},
        {"embedding": {"a": "q4"}, "layers": [], "head": {"a": "q4"}},
        {"embedding": {"a": "q4"}, "layers": [{"count": 10**9, "tensors": {}}], "head": {}},
        {"embedding": {"a": "q4"}, "layers": [{"count": 2, "tensors": {}}], "head": {"a": "q4"}},
        {"embedding": {"a": "q4"}, "layers": [{"count": 2}], "head": {"a": "q4"}},
        {"embedding": {"a": "q4"}, "layers": 2, "head": {"a": "q4"}},
        {"embedding": {"../a": "q4"}, "layers": [{"count": 2, "tensors": {"a": "q4"}}], "head": {}},
        {"embedding": {"a": 4}, "layers": [{"count": 2, "tensors": {"a": "q4"}}], "head": {}},
        {"embedding": [], "layers": [{"count": 2, "tensors": {"a": "q4"}}], "head": {}},
    ],
)
def test_formats_that_make_no_sense_are_a_store_error_with_the_next_step(formats):
    values = json.loads(make_manifest().to_json()) | {"formats": formats}
    with pytest.raises(StoreError, match="pi-cluster shard"):
        Manifest.from_json(json.dumps(values))


def test_a_tensor_in_a_later_format_says_to_update():
    values = json.loads(make_manifest().to_json())
    values["formats"]["head"]["output.weight"] = "q3"
    with pytest.raises(VersionError, match=r"output.weight.*q3.*update pi-cluster"):
        Manifest.from_json(json.dumps(values))


def test_the_digest_changes_with_any_file():
    manifest = make_manifest()
    changed = replace(manifest.files[1], sha256="0" * 64)
    assert replace(manifest, files=(*manifest.files[:1], changed, *manifest.files[2:])).digest != (
        manifest.digest
    )


def test_files_are_found_by_what_they_hold():
    manifest = make_manifest()
    assert manifest.n_layers == 2
    assert manifest.layer_file(1).name == "layer-01.safetensors"
    assert manifest.embedding_file.name == "embedding.safetensors"
    assert manifest.head_file.name == "head.safetensors"
    assert [file.name for file in manifest.tokenizer_files] == ["tokenizer.model"]
    with pytest.raises(StoreError, match="2 layers"):
        manifest.layer_file(2)


def test_layers_past_the_hundredth_have_three_digits():
    names = ["embedding.safetensors", *map(layer_file_name, range(101)), "head.safetensors"]
    assert make_manifest(dict.fromkeys(names, b"")).layer_file(100).name == "layer-100.safetensors"


def test_a_newer_format_version_says_to_update():
    values = json.loads(make_manifest().to_json()) | {"version": 3, "anything": "new"}
    with pytest.raises(VersionError, match="update pi-cluster"):
        Manifest.from_json(json.dumps(values))


@pytest.mark.parametrize("key", ["weights", "outer_weights"])
def test_weights_of_a_later_format_say_to_update(key):
    values = json.loads(make_manifest().to_json()) | {key: "q3"}
    with pytest.raises(VersionError, match=r"q3.*update pi-cluster"):
        Manifest.from_json(json.dumps(values))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("format", "zip"),
        ("version", "1"),
        ("version", True),
        ("version", 0),
        ("weights", 16),
        ("outer_weights", 16),
        ("config", []),
        ("config", {str(n): n for n in range(100)}),
        ("bos_id", -1),
        ("bos_id", True),
        ("bos_id", 2**31),
        ("eos_ids", 2),
        ("eos_ids", ["2"]),
        ("eos_ids", list(range(65))),
        ("tokenizer_name", "../secret"),
        ("tokenizer_name", 3),
        ("files", None),
        ("files", [1]),
        ("files", []),
        ("surprise", 1),
    ],
)
def test_a_field_that_makes_no_sense_is_a_store_error_with_the_next_step(key, value):
    values = json.loads(make_manifest().to_json()) | {key: value}
    with pytest.raises(StoreError, match="pi-cluster shard"):
        Manifest.from_json(json.dumps(values))


@pytest.mark.parametrize(
    "name",
    [
        "../head.safetensors",
        "/etc/passwd",
        "layer-0.safetensors",
        "layer-001.safetensors",
        "layer-00.safetensors\n",
        "layer-٠٠.safetensors",
        "manifest.json",
        "",
        None,
    ],
)
def test_a_file_name_outside_the_fixed_set_is_refused(name):
    with pytest.raises(StoreError):
        ShardFile(name, 1, "0" * 64)


@pytest.mark.parametrize(
    ("size_bytes", "digest"),
    [(-1, "0" * 64), (1.5, "0" * 64), (True, "0" * 64), (1, "0" * 63), (1, "G" * 64), (1, None)],
)
def test_a_size_or_hash_that_is_none_is_refused(size_bytes, digest):
    with pytest.raises(StoreError, match=r"head\.safetensors"):
        ShardFile("head.safetensors", size_bytes, digest)


@pytest.mark.parametrize("lost", [name for name in CONTENT if name != "tokenizer.model"])
def test_a_manifest_without_a_needed_file_names_it(lost):
    content = {name: data for name, data in CONTENT.items() if name != lost}
    # Without layer 1 the list still makes sense: it is that of a smaller model.
    if lost == "layer-01.safetensors":
        assert make_manifest(content).n_layers == 1
        return
    with pytest.raises(StoreError, match=lost):
        make_manifest(content)


def test_a_file_listed_twice_is_refused():
    manifest = make_manifest()
    with pytest.raises(StoreError, match="twice"):
        replace(manifest, files=(*manifest.files, manifest.files[0]))


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "[" * 100_000, '{"version": NaN}', "9" * 9999]
)
def test_garbage_is_a_store_error(text):
    with pytest.raises(StoreError):
        Manifest.from_json(text)


def test_a_manifest_of_absurd_length_is_not_even_parsed():
    with pytest.raises(StoreError, match="longer"):
        Manifest.from_json(make_manifest().to_json() + " " * 2_000_000)


@settings(max_examples=300)
@given(st.data())
def test_no_damage_to_a_manifest_gives_anything_but_our_errors(data):
    text = make_manifest().to_json()
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text)))
        cut = data.draw(st.integers(0, 6))
        text = (
            text[:at]
            + data.draw(st.text('{}[]",:-0129.eE\\/\n\ud800x', max_size=4))
            + text[at + cut :]
        )
    try:
        manifest = Manifest.from_json(text)
    except (StoreError, VersionError):
        return
    assert Manifest.from_json(manifest.to_json()).digest == manifest.digest


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


@settings(max_examples=200)
@given(
    st.sampled_from(sorted(json.loads(make_manifest().to_json()))),
    json_values,
    st.sampled_from(["name", "size_bytes", "sha256"]),
    json_values,
)
def test_no_value_in_a_manifest_gives_anything_but_our_errors(key, value, file_key, file_value):
    values = json.loads(make_manifest().to_json())
    values["files"][0][file_key] = file_value
    values[key] = value
    with contextlib.suppress(StoreError, VersionError):
        Manifest.from_json(json.dumps(values))


def test_a_sound_store_opens_and_verifies_and_tells_how_far_it_is(folder):
    seen = []
    store = Store(folder)
    assert store.verify(lambda *progress: seen.append(progress)) == []
    assert store.path_of("layer-01.safetensors").read_bytes() == b"one"
    assert [name for _, _, name in seen] == list(CONTENT)
    assert seen[-1][0] == seen[-1][1] == store.manifest.size_bytes


def test_a_path_is_given_only_for_listed_files(folder):
    with pytest.raises(StoreError, match=r"\.\./x"):
        Store(folder).path_of("../x")


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def truncate(path):
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (flip, "SHA-256"),
        (truncate, "2699999 bytes instead of 2700000"),
        (lambda path: path.unlink(), "missing"),
        (lambda path: (path.unlink(), path.mkdir()), "bytes instead of"),
    ],
)
def test_verify_names_the_damaged_file_what_is_wrong_and_the_command(folder, damage, said):
    damage(folder / "embedding.safetensors")
    found = Store(folder).verify()
    assert [damage.file_name for damage in found] == ["embedding.safetensors"]
    assert said in str(found[0])
    command = f"pi-cluster shard CHECKPOINT --out {folder} --weights q4 --outer-weights q8"
    assert command in str(found[0])


def test_a_missing_folder_says_how_to_make_a_store(tmp_path):
    with pytest.raises(StoreError, match=r"no store at .*pi-cluster shard"):
        Store(tmp_path / "gone")


def test_a_folder_without_manifest_says_that_it_is_no_store(tmp_path):
    with pytest.raises(StoreError, match=r"no manifest\.json.*pi-cluster shard"):
        Store(tmp_path)


def test_an_interrupted_store_says_to_run_the_same_command_again(tmp_path):
    (tmp_path / "journal.json").write_text("{}")
    with pytest.raises(StoreError, match=r"interrupted.*run the same `pi-cluster shard` again"):
        Store(tmp_path)


@pytest.mark.parametrize("content", [b"", b"\xff\xff", b"{}"])
def test_a_torn_manifest_is_named_with_its_path(folder, content):
    (folder / "manifest.json").write_bytes(content)
    with pytest.raises(StoreError, match=r"manifest\.json"):
        Store(folder)


def test_a_store_path_that_is_a_file_is_a_store_error(folder, tmp_path):
    with pytest.raises(StoreError):
        Store(folder / "tokenizer.model")


def test_hashing_agrees_with_hashlib_and_names_a_missing_file(folder):
    path = folder / "embedding.safetensors"
    assert hash_file(path) == sha256(CONTENT[path.name]).hexdigest()
    shutil.rmtree(folder)
    with pytest.raises(StoreError, match="embedding"):
        hash_file(path)
