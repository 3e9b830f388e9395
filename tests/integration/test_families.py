"""Models of every family from their checkpoint to the ids, by the command and by real workers."""

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import save_file

from pi_cluster.cluster.errors import CheckpointError
from pi_cluster.cluster.store.tensor_file import TensorFile
from pi_cluster.shard_tool.sources.checkpoint import open_checkpoint
from tests.support.checkpoints import small_config, write_consolidated_checkpoint
from tests.support.goldens import GOLDENS, load_golden
from tests.support.stores import notes_of, shard

FAMILIES = ["llama3-tied", "ministral", "qwen2", "qwen3-biases", "smollm3-windows"]


@pytest.fixture(scope="module")
def changing_cluster(make_cluster):
    with make_cluster() as cluster:
        yield cluster


@pytest.mark.parametrize("name", FAMILIES)
def test_three_workers_answer_with_the_ids_of_transformers(changing_cluster, tmp_path, name):
    reference = load_golden(GOLDENS / name / "reference.npz")
    shard(GOLDENS / name, tmp_path / "store", "f32")
    changing_cluster.up(str(tmp_path / "store"), "--local", "3")
    ids = ",".join(map(str, reference["ids"].tolist()))
    answer = changing_cluster.prompt("--ids", ids, "--max-tokens", "40", "--temperature", "0")
    expected = reference["greedy"].tolist()
    if 2 in expected:  # which ends an answer; the goldens go on
        expected = expected[: expected.index(2)]
    assert answer["ids"] == expected


def changed(folder, name, change):
    """A copy of a golden, its tensors changed as a whole. The weights are read as float32."""
    shutil.copytree(GOLDENS / name, folder)
    with TensorFile(GOLDENS / name / "model.safetensors") as file:
        tensors = {n: file.read_rows(n, 0, file.info(n).shape[0]) for n in file.names}
    save_file(change(tensors), folder / "model.safetensors")


LACKING = {
    "qwen2": "model.layers.1.self_attn.k_proj.bias",
    "qwen3-tied": "model.layers.2.self_attn.q_norm.weight",
    "llama-biases": "model.layers.0.self_attn.o_proj.bias",
}


@pytest.mark.parametrize("name", LACKING)
def test_a_bias_or_a_gain_that_the_family_has_and_the_file_lacks_is_named(tmp_path, name):
    lacking = LACKING[name]
    changed(tmp_path / "c", name, lambda all_: {n: t for n, t in all_.items() if n != lacking})
    with pytest.raises(CheckpointError, match=lacking):
        shard(tmp_path / "c", tmp_path / "s")
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    ("name", "tensor"),
    [
        ("ministral", "model.layers.0.self_attn.q_proj.bias"),
        ("qwen2", "model.layers.0.self_attn.o_proj.bias"),
        ("qwen2", "model.layers.0.self_attn.q_norm.weight"),
        ("llama3-tied", "model.layers.0.mlp.gate_proj.bias"),
    ],
)
def test_a_tensor_that_no_model_of_the_family_has_is_refused_by_its_name(tmp_path, name, tensor):
    changed(tmp_path / "c", name, lambda all_: all_ | {tensor: np.ones(32, np.float32)})
    with pytest.raises(CheckpointError, match=f"{tensor}.*no model of this configuration"):
        shard(tmp_path / "c", tmp_path / "s")


def test_a_ministral_in_mistrals_own_form_gives_the_same_store(tmp_path):
    expected = shard(GOLDENS / "ministral", tmp_path / "expected", "q8")
    with open_checkpoint(GOLDENS / "ministral") as checkpoint:
        own = {n: np.concatenate(list(t.row_blocks())) for n, t in checkpoint.tensors.items()}
    (tmp_path / "c").mkdir()
    save_file(own, tmp_path / "c" / "consolidated.safetensors")
    params = {"dim": 32, "n_layers": 4, "n_heads": 4, "n_kv_heads": 2, "head_dim": 16}
    params |= {"hidden_dim": 48, "vocab_size": 64, "norm_eps": 1e-6, "rope_theta": 10_000.0}
    params |= {"_sliding_window": [None, 16, 16, 16], "max_position_embeddings": 512}
    (tmp_path / "c" / "params.json").write_text(json.dumps(params))
    assert shard(tmp_path / "c", tmp_path / "s", "q8").digest == expected.digest


def test_windows_that_params_json_has_on_some_layers_alone_are_in_the_store(tmp_path):
    config = small_config(n_layers=4, window=None)
    pattern = {"sliding_window": ..., "_sliding_window": [None, 32, 32, 32]}
    write_consolidated_checkpoint(tmp_path / "c", config, params_overrides=pattern)
    layers = shard(tmp_path / "c", tmp_path / "s").config["layers"]
    assert [(run["count"], run.get("window")) for run in layers] == [(1, None), (3, 32)]


def test_a_ministral_whose_two_configurations_differ_in_their_windows_is_noted(tmp_path):
    shutil.copytree(GOLDENS / "ministral", tmp_path / "c")
    values = {"dim": 32, "n_layers": 4, "n_heads": 4, "n_kv_heads": 2, "head_dim": 16}
    config = small_config(**values, hidden_dim=48, vocab_size=64, norm_eps=1e-6, window=16)
    write_consolidated_checkpoint(tmp_path / "d", config)
    shutil.copy(tmp_path / "d" / "params.json", tmp_path / "c")
    assert notes_of(tmp_path / "c", tmp_path / "s") == [
        "config.json is used, but params.json differs: by it, sliding_window is 16, "
        "not [null, 16, 16, 16]"
    ]
