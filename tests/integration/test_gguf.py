"""GGUF files through the shard tool: from a file of the gguf package to mapped bytes of a store."""

import subprocess
import sys
import tempfile
from dataclasses import replace

import gguf
import numpy as np
import pytest

from pi_cluster.cluster.errors import CheckpointError, StoreError
from pi_cluster.cluster.store.tensor_file import TensorFile
from pi_cluster.kernels import Matrix, rows_of, unpack
from pi_cluster.transformer.config_form import read_config
from tests.support.checkpoints import write_hugging_face_checkpoint
from tests.support.gguf_models import (
    Type,
    all_in,
    gguf_config,
    half_split,
    split_gguf,
    write_gguf,
)
from tests.support.gguf_vocabularies import byte_level_keys, sentencepiece_keys
from tests.support.stores import beside_text, shard

KEPT = {"Q8_0": "q8", "Q4_0": "q4", "Q5_0": "q8", "Q4_1": "q4_1", "Q4_K": "q4k", "IQ4_NL": "q4n"}
ROUNDED = ("Q5_1", "Q5_K", "Q6_K")
Q8_STEPS = 1 / 127  # of a block's largest weight
SMALLEST_HALF = 2.0**-24  # the scale of a block is one


def tensors_of(store, manifest):
    """Every tensor of a store by Mistral's whole name, with its format, as arrays of float32."""
    files = {manifest.embedding_file: ("", manifest.formats.embedding)}
    for index, formats in enumerate(manifest.formats.layers):
        files[manifest.layer_file(index)] = (f"layers.{index}.", formats)
    files[manifest.head_file] = ("", manifest.formats.head)
    shapes = {}
    for file, (prefix, formats) in files.items():
        with TensorFile(store / file.name) as tensors:
            for name, form in formats.items():
                shapes[prefix + name] = (form, tensors.map(name))
    return shapes


def decoded(form, array, shape):
    if len(shape) == 1 or form == "f32":
        return np.array(array, np.float32)
    return unpack(Matrix(form, *shape, np.array(array).reshape(-1).view(np.uint8)))


def check_values(store, manifest, expected, form_of):
    found = tensors_of(store, manifest)
    assert found.keys() == expected.keys()
    for name, (form, array) in found.items():
        weights = expected[name]
        assert form == ("f32" if weights.ndim == 1 else form_of(name)), name
        values = decoded(form, array, weights.shape)
        assert np.array_equal(values.view(np.uint32), weights.view(np.uint32)), name


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "qwen3"])
@pytest.mark.parametrize("type_name", KEPT)
def test_quantised_weights_are_kept_to_the_bit(tmp_path, type_name, architecture):
    weights = write_gguf(tmp_path / "m.gguf", architecture=architecture, type_of=all_in(type_name))
    manifest = shard(tmp_path / "m.gguf", tmp_path / "s", "q4")
    check_values(tmp_path / "s", manifest, weights, lambda _: KEPT[type_name])
    assert read_config(manifest.config) == gguf_config(architecture)
    # What is asked for does not count for weights that are quantised already.
    again = shard(tmp_path / "m.gguf", tmp_path / "t", "f16")
    assert [file.sha256 for file in again.files] == [file.sha256 for file in manifest.files]


@pytest.mark.parametrize("type_name", KEPT)
def test_single_rows_of_the_embedding_are_those_of_the_file(tmp_path, type_name):
    weights = write_gguf(tmp_path / "m.gguf", type_of=all_in(type_name), tied=True)
    manifest = shard(tmp_path / "m.gguf", tmp_path / "s")
    form, data = tensors_of(tmp_path / "s", manifest)["tok_embeddings.weight"]
    matrix = Matrix(form, 300, 256, np.array(data))
    rows = np.array([0, 299, 17, 17])
    expected = weights["tok_embeddings.weight"][rows]
    assert np.array_equal(rows_of(matrix, rows).view(np.uint32), expected.view(np.uint32))


@pytest.mark.parametrize("type_name", ROUNDED)
@pytest.mark.parametrize("asked", ["q4", "f32"])
def test_formats_without_an_equal_are_rounded_to_eight_bits_with_a_note(tmp_path, type_name, asked):
    weights = write_gguf(tmp_path / "m.gguf", type_of=all_in(type_name))
    notes = []
    manifest = shard(tmp_path / "m.gguf", tmp_path / "s", asked, on_note=notes.append)
    assert any(f"tensors in {type_name} (16) become q8" in note for note in notes)
    for name, (form, array) in tensors_of(tmp_path / "s", manifest).items():
        expected = weights[name]
        assert form == ("f32" if expected.ndim == 1 else "q8")
        values = decoded(form, array, expected.shape)
        if expected.ndim == 1:
            assert np.array_equal(values, expected)
            continue
        largest = np.abs(expected.reshape(-1, 32)).max(axis=1, keepdims=True)
        misses = np.abs(values - expected).reshape(-1, 32)
        assert (misses <= largest * Q8_STEPS * 0.55 + SMALLEST_HALF * 127).all()


def test_a_mixture_keeps_the_format_of_each_tensor(tmp_path):
    types = {"wv": "Q6_K", "w2": "Q5_0", "output": "Q6_K", "tok_embeddings": "Q8_0", "w1": "F16"}

    def type_of(name, _):
        return Type[types.get(name.split(".")[-2], "Q4_K")]

    weights = write_gguf(tmp_path / "m.gguf", type_of=type_of)
    notes = []
    manifest = shard(tmp_path / "m.gguf", tmp_path / "s", "q4", on_note=notes.append)
    assert dict(manifest.formats.layers[1]) == {
        "attention_norm.weight": "f32",
        "attention.wq.weight": "q4k",
        "attention.wk.weight": "q4k",
        "attention.wv.weight": "q8",
        "attention.wo.weight": "q4k",
        "ffn_norm.weight": "f32",
        "feed_forward.w1.weight": "q4",
        "feed_forward.w2.weight": "q8",
        "feed_forward.w3.weight": "q4k",
    }
    assert manifest.formats.head["output.weight"] == "q8"
    assert manifest.formats.embedding["tok_embeddings.weight"] == "q8"
    found = tensors_of(tmp_path / "s", manifest)
    for name in ("layers.1.attention.wq.weight", "layers.0.feed_forward.w2.weight"):
        form, array = found[name]
        values = decoded(form, array, weights[name].shape)
        assert np.array_equal(values, weights[name])
    assert beside_text(notes) == [
        "tensors that are quantised keep their values, whatever --weights says: "
        "Q4_K (8), Q5_0 (2), Q8_0 (1)",
        "tensors in Q6_K (3) become q8: that moves their weights by some 0.6 % (root mean square), "
        "and takes 30 to 50 % more memory than the file",
    ]


@pytest.mark.parametrize(
    ("type_name", "dtype"), [("F32", "float32"), ("F16", "float16"), ("BF16", "bfloat16")]
)
def test_plain_weights_become_what_those_of_a_checkpoint_become(tmp_path, type_name, dtype):
    config = gguf_config()
    weights = write_gguf(tmp_path / "m.gguf", config, type_of=all_in(type_name))
    write_hugging_face_checkpoint(
        tmp_path / "c",
        config,
        dtype="float32",
        weights=weights,
        config_overrides={
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "sliding_window": ...,
        },
    )
    for asked in ("q4", "f32"):
        ours = shard(tmp_path / "m.gguf", tmp_path / f"{asked}.gguf.store", asked)
        theirs = shard(tmp_path / "c", tmp_path / f"{asked}.store", asked)
        files = [file for file in ours.files if file.name.endswith(".safetensors")]
        assert files == list(theirs.files)
        assert ours.config == theirs.config


def test_biases_and_gains_of_half_split_files_are_interleaved(tmp_path):
    for architecture, names in {
        "qwen2": ("attention.wq.bias", "attention.wk.bias", "attention.wv.bias"),
        "qwen3": ("attention.q_norm.weight", "attention.k_norm.weight"),
    }.items():
        weights = write_gguf(tmp_path / "m.gguf", architecture=architecture)
        written = gguf.GGUFReader(tmp_path / "m.gguf")
        manifest = shard(tmp_path / "m.gguf", tmp_path / architecture, "f32")
        found = tensors_of(tmp_path / architecture, manifest)
        as_written = {tensor.name: tensor.data for tensor in written.tensors}
        for name in names:
            _, array = found[f"layers.1.{name}"]
            assert np.array_equal(array, weights[f"layers.1.{name}"])
        first = "attn_q.bias" if architecture == "qwen2" else "attn_q_norm.weight"
        assert np.array_equal(
            as_written[f"blk.1.{first}"], half_split(weights[f"layers.1.{names[0]}"], 64)
        )
        assert not np.array_equal(as_written[f"blk.1.{first}"], weights[f"layers.1.{names[0]}"])


def test_factors_of_the_rotary_angles_are_read(tmp_path):
    factors = np.linspace(1, 8, 32).astype(np.float32)
    write_gguf(tmp_path / "m.gguf", more_tensors={"rope_freqs.weight": factors})
    manifest = shard(tmp_path / "m.gguf", tmp_path / "s")
    (table,) = read_config(manifest.config).rope_tables
    assert table.factors == tuple(factors.tolist())


def test_parts_make_the_store_that_the_whole_file_makes(tmp_path):
    write_gguf(tmp_path / "m.gguf", type_of=all_in("Q4_K"))
    parts = split_gguf(tmp_path / "m.gguf", [5, 1, 15])
    expected = shard(tmp_path / "m.gguf", tmp_path / "whole")
    for number, path in enumerate(parts):
        assert shard(path, tmp_path / str(number)).digest == expected.digest
    (tmp_path / "m.gguf").unlink()
    assert shard(tmp_path, tmp_path.with_suffix(".store")).digest == expected.digest


def test_the_same_file_sharded_again_changes_nothing(tmp_path):
    write_gguf(tmp_path / "m.gguf", type_of=all_in("Q8_0"))
    first = shard(tmp_path / "m.gguf", tmp_path / "s")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "s").iterdir()}
    assert shard(tmp_path / "m.gguf", tmp_path / "s").digest == first.digest
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "s").iterdir()} == before
    write_gguf(tmp_path / "m.gguf", type_of=all_in("Q8_0"), seed=1)
    with pytest.raises(StoreError, match="holds a finished store of another checkpoint"):
        shard(tmp_path / "m.gguf", tmp_path / "s")


@pytest.mark.parametrize("tokenizer", [byte_level_keys, sentencepiece_keys])
def test_the_tokenizer_is_in_the_store_and_its_ids_are_those_of_the_file(tmp_path, tokenizer):
    keys = tokenizer(size=320)
    write_gguf(tmp_path / "m.gguf", gguf_config_of(320), tokenizer=keys)
    manifest = shard(tmp_path / "m.gguf", tmp_path / "s")
    names = {file.name for file in manifest.tokenizer_files}
    kind = "tokenizer.model" if tokenizer is sentencepiece_keys else "tokenizer.json"
    assert names >= {kind, "tokenizer_config.json"}
    assert manifest.bos_id == keys["tokenizer.ggml.bos_token_id"]
    assert keys["tokenizer.ggml.eos_token_id"] in manifest.eos_ids


def gguf_config_of(vocab_size):
    return replace(gguf_config(), vocab_size=vocab_size)


def test_a_file_without_a_tokenizer_is_sharded_with_a_note(tmp_path):
    write_gguf(tmp_path / "m.gguf")
    notes = []
    manifest = shard(tmp_path / "m.gguf", tmp_path / "s", on_note=notes.append)
    assert manifest.tokenizer_files == ()
    assert notes == [
        f"{tmp_path / 'm.gguf'} has no tokenizer inside: `prompt --ids` works, text does not"
    ]


def test_a_template_at_fault_is_a_note_in_terms_of_the_file(tmp_path):
    keys = byte_level_keys(size=300, **{"tokenizer.chat_template": "{% for"})
    write_gguf(tmp_path / "m.gguf", tokenizer=keys)
    notes = []
    shard(tmp_path / "m.gguf", tmp_path / "s", on_note=notes.append)
    (note,) = notes
    assert note.startswith(f"{tmp_path / 'm.gguf'}: chat_template.jinja: ")
    assert note.endswith("`--ids` will. Fetch another GGUF of the same model")


def test_nothing_is_left_in_the_folder_for_temporary_files(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    write_gguf(tmp_path / "m.gguf", tokenizer=byte_level_keys(size=300))
    shard(tmp_path / "m.gguf", tmp_path / "s")
    write_gguf(tmp_path / "m.gguf", tokenizer=byte_level_keys(size=299))
    with pytest.raises(CheckpointError):
        shard(tmp_path / "m.gguf", tmp_path / "t")
    assert not list((tmp_path / "temporary").iterdir())


def test_the_command_takes_a_file_and_says_what_its_weights_are(tmp_path):
    types = {"wv": "Q6_K", "w1": "F32"}
    write_gguf(
        tmp_path / "m.gguf", type_of=lambda name, _: Type[types.get(name.split(".")[-2], "Q4_K")]
    )
    command = [sys.executable, "-m", "pi_cluster.deploy", "shard", str(tmp_path / "m.gguf")]
    run = subprocess.run(
        [*command, "--out", str(tmp_path / "s")], capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 0, run.stderr
    assert "keep their values, whatever --weights says: Q4_K (12)" in run.stderr
    assert "tensors in Q6_K (2) become q8" in run.stderr
    assert "2 layers" in run.stderr
    assert "q4k and q8 and q4n. Next: pi-cluster up" in run.stderr
    again = subprocess.run(
        [*command[:-1], str(tmp_path / "none.gguf"), "--out", str(tmp_path / "t")],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert again.returncode != 0
    assert "there is no file" in again.stderr
    assert "Traceback" not in again.stderr
