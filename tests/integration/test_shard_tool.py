import json
from pathlib import Path

import mistral_common
import numpy as np
import pytest
from safetensors.numpy import load_file

from pi_cluster.cluster.errors import CheckpointError
from pi_cluster.cluster.store.store import Store
from pi_cluster.cluster.store.tensor_file import TensorFile
from pi_cluster.transformer.config_form import read_config
from pi_cluster.transformer.errors import UnsupportedModel
from tests.support.checkpoints import (
    random_weights,
    small_config,
    write_consolidated_checkpoint,
    write_hugging_face_checkpoint,
    write_safetensors,
)
from tests.support.stores import shard

SMALL = small_config()
TOKENIZER = Path(__file__).parents[2] / "storyteller" / "checkpoint" / "tokenizer.model"
NARROW_HEADS = small_config(head_dim=8)


def stored_weights(folder):
    """Every tensor of a store by Mistral's whole name, as the safetensors library reads it."""
    manifest = Store(folder).manifest
    found = {}
    for file in manifest.files:
        if not file.name.endswith(".safetensors"):
            continue
        prefix = f"layers.{int(file.name[6:8])}." if file.name.startswith("layer-") else ""
        tensors = load_file(folder / file.name)
        found |= {prefix + name: t for name, t in tensors.items() if "padding" not in name}
    return found


@pytest.mark.parametrize("weights", ["f16", "f32"])
@pytest.mark.parametrize("config", [SMALL, NARROW_HEADS], ids=["small", "narrow heads"])
def test_every_source_and_dtype_gives_the_same_store_and_the_checkpoints_weights(
    tmp_path, weights, config
):
    digests, expected = set(), random_weights(config, seed=3)
    for dtype in ("bfloat16", "float16", "float32"):
        one, several, mistral = (tmp_path / f"{dtype}-{form}" for form in ("1", "3", "m"))
        write_hugging_face_checkpoint(one, config, seed=3, dtype=dtype)
        write_hugging_face_checkpoint(several, config, seed=3, dtype=dtype, shards=3)
        write_consolidated_checkpoint(mistral, config, seed=3, dtype=dtype)
        for source in (one, several, mistral):
            out = tmp_path / f"store-{source.name}"
            digests.add(shard(source, out, weights).digest)
            found = stored_weights(out)
            assert found.keys() == expected.keys()
            for name, tensor in expected.items():
                is_f32 = weights == "f32" or tensor.ndim == 1
                assert found[name].dtype == (np.float32 if is_f32 else np.float16), name
                np.testing.assert_array_equal(found[name], tensor, err_msg=name)
    assert len(digests) == 1


def test_a_window_written_as_a_string_gives_the_store_of_that_number(tmp_path):
    said = {"sliding_window": str(SMALL.widest_window)}
    write_consolidated_checkpoint(tmp_path / "number")
    write_consolidated_checkpoint(tmp_path / "text", params_overrides=said)
    write_hugging_face_checkpoint(tmp_path / "theirs", config_overrides=said)
    digests = {shard(tmp_path / c, tmp_path / f"{c}.store").digest for c in ("number", "text")}
    assert digests == {shard(tmp_path / "theirs", tmp_path / "s").digest}


@pytest.mark.parametrize(
    ("form", "overrides", "said"),
    [
        ("params", {"sliding_window": ..., "_sliding_window": [None, 32]}, "_sliding_window"),
        ("params", {"activation": "gelu"}, "activation"),
        ("config", {"layer_types": ["full_attention"] * 3}, "layer_types"),
    ],
)
def test_a_key_that_changes_the_arithmetic_is_refused_before_anything_is_written(
    tmp_path, form, overrides, said
):
    if form == "params":
        write_consolidated_checkpoint(tmp_path / "c", params_overrides=overrides)
    else:
        write_hugging_face_checkpoint(tmp_path / "c", config_overrides=overrides)
    with pytest.raises(UnsupportedModel, match=rf"^{form}\.json: {said} is"):
        shard(tmp_path / "c", tmp_path / "s")
    assert not (tmp_path / "s").exists()


def test_every_tensor_of_a_store_can_be_mapped_at_a_multiple_of_64(tmp_path):
    write_hugging_face_checkpoint(tmp_path / "c", small_config(dim=60, head_dim=6, hidden_dim=37))
    for file in shard(tmp_path / "c", tmp_path / "s").files:
        with TensorFile(tmp_path / "s" / file.name) as tensors:
            for name in tensors.names:
                assert tensors.info(name).offset % 64 == 0
                assert tensors.map(name).ctypes.data % 64 == 0


def test_the_manifest_carries_the_model_and_the_store_verifies(tmp_path):
    config = small_config(window=None, rope_theta=1e6)
    write_hugging_face_checkpoint(tmp_path / "c", config)
    assert shard(tmp_path / "c", tmp_path / "s") == Store(tmp_path / "s").manifest
    store = Store(tmp_path / "s")
    assert read_config(store.manifest.config) == config
    assert store.manifest.n_layers == 3
    assert store.verify() == []


@pytest.mark.parametrize("stray_head", [False, True])
def test_a_tied_head_is_a_copy_of_the_embedding(tmp_path, stray_head):
    weights = random_weights(SMALL, tied=not stray_head)
    write_hugging_face_checkpoint(tmp_path / "c", tied=True, weights=weights)
    shard(tmp_path / "c", tmp_path / "s")
    found = stored_weights(tmp_path / "s")
    np.testing.assert_array_equal(found["output.weight"], weights["tok_embeddings.weight"])


def test_rows_wider_than_a_block_and_blocks_of_uneven_size_come_out_whole(tmp_path, monkeypatch):
    weights = write_hugging_face_checkpoint(tmp_path / "c", SMALL)
    for block_bytes in (1, 3 * 4 * SMALL.dim, 20 * 4 * SMALL.dim):
        monkeypatch.setattr("pi_cluster.shard_tool.sources.source_tensor.BLOCK_BYTES", block_bytes)
        out = tmp_path / f"s{block_bytes}"
        shard(tmp_path / "c", out)
        for name, tensor in stored_weights(out).items():
            np.testing.assert_array_equal(tensor, weights[name], err_msg=name)


@pytest.mark.parametrize(
    ("generation", "config", "expected"),
    [
        (None, {"eos_token_id": [5, 6]}, (1, (5, 6))),
        ({"eos_token_id": [5, 9], "bos_token_id": 3}, {"eos_token_id": 5}, (3, (5, 9))),
        ({}, {"bos_token_id": None, "eos_token_id": ...}, (1, (2,))),
    ],
)
def test_special_ids_come_from_the_configurations(tmp_path, generation, config, expected):
    write_hugging_face_checkpoint(tmp_path / "c", config_overrides=config)
    if generation is not None:
        (tmp_path / "c" / "generation_config.json").write_text(json.dumps(generation))
    manifest = shard(tmp_path / "c", tmp_path / "s")
    assert (manifest.bos_id, manifest.eos_ids) == expected


@pytest.mark.parametrize(
    ("names", "kept"),
    [
        (["tokenizer.model"], "tokenizer.model"),
        (["tokenizer.model.v3"], "tokenizer.model.v3"),
        (["tokenizer.model", "tokenizer.model.v2"], "tokenizer.model.v2"),
    ],
)
def test_the_tokenizer_is_copied_and_its_first_name_kept(tmp_path, names, kept):
    write_hugging_face_checkpoint(tmp_path / "c", small_config(vocab_size=2048))
    pieces = TOKENIZER.read_bytes()
    for name in names:
        (tmp_path / "c" / name).write_bytes(pieces)
    (tmp_path / "c" / "tokenizer_config.json").write_text("{}")
    manifest = shard(tmp_path / "c", tmp_path / "s")
    assert manifest.tokenizer_name == kept
    assert (tmp_path / "s" / "tokenizer.model").read_bytes() == pieces
    files = [file.name for file in manifest.tokenizer_files]
    assert files == ["tokenizer.model", "tokenizer_config.json"]


def test_special_ids_come_from_the_sentencepiece_model_where_there_is_no_configuration(tmp_path):
    data = Path(mistral_common.__file__).parent / "data" / "tokenizer.model.v1"
    write_consolidated_checkpoint(tmp_path / "c", small_config(vocab_size=32_000))
    (tmp_path / "c" / "tokenizer.model.v1").write_bytes(data.read_bytes())
    manifest = shard(tmp_path / "c", tmp_path / "s")
    assert (manifest.bos_id, manifest.eos_ids) == (1, (2,))
    assert manifest.tokenizer_name == "tokenizer.model.v1"


def test_extra_tables_and_tensors_outside_the_layers_do_no_harm(tmp_path):
    write_hugging_face_checkpoint(tmp_path / "c", shards=1)
    tensors = load_bfloat16(tmp_path / "c" / "model.safetensors")
    tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = np.ones(8, np.float32)
    tensors["value_head.weight"] = np.ones(8, np.float32)
    write_safetensors(tmp_path / "c" / "model.safetensors", tensors, "bfloat16")
    with_extra = shard(tmp_path / "c", tmp_path / "s")
    write_hugging_face_checkpoint(tmp_path / "plain")
    assert with_extra.digest == shard(tmp_path / "plain", tmp_path / "t").digest


def load_bfloat16(path):
    with TensorFile(path) as file:
        return {n: file.read_rows(n, 0, file.info(n).shape[0]) for n in file.names}


@pytest.mark.parametrize(
    ("store_weights", "value", "said"),
    [
        ("f16", 70_000.0, "--weights f32"),
        ("f16", -70_000.0, "-70000"),
        ("f16", np.nan, "finite"),
        ("q4", 500_000.0, "--weights f32"),  # 7 steps of the largest scale are 458 528
        ("q4", -500_000.0, "q4 cannot hold"),
        ("q4", -np.inf, "finite"),
        ("q4n", 7_500_000.0, "--weights f32"),  # 113 times the largest scale are 7 401 952
        ("q8", 9_000_000.0, "--weights f32"),
        ("q8", np.nan, "finite"),
    ],
)
def test_a_value_that_the_format_cannot_hold_names_the_tensor(tmp_path, store_weights, value, said):
    weights = random_weights(SMALL)
    weights["layers.1.attention.wo.weight"][5, 5] = value
    write_hugging_face_checkpoint(tmp_path / "c", weights=weights, dtype="float32")
    with pytest.raises(CheckpointError, match=r"layers\.1\.self_attn\.o_proj") as failure:
        shard(tmp_path / "c", tmp_path / "s", store_weights)
    assert said in str(failure.value)
    if np.isfinite(value):
        shard(tmp_path / "c", tmp_path / "t", "f32")
        assert stored_weights(tmp_path / "t")["layers.1.attention.wo.weight"][5, 5] == value
