import json
from pathlib import Path

import numpy as np
import pytest

from pi_cluster.cluster.errors import CheckpointError
from pi_cluster.transformer.errors import UnsupportedModel
from tests.support.checkpoints import (
    random_weights,
    small_config,
    write_consolidated_checkpoint,
    write_hugging_face_checkpoint,
)
from tests.support.stores import shard

SMALL = small_config()


def break_one(change):
    def apply(folder):
        weights = random_weights(SMALL)
        change(weights)
        write_hugging_face_checkpoint(folder, weights=weights)

    return apply


def drop_norm(weights):
    del weights["layers.1.ffn_norm.weight"]


def drop_head(weights):
    del weights["output.weight"]


def widen_w2(weights):
    weights["layers.2.feed_forward.w2.weight"] = np.zeros((64, 97), np.float32)


def add_layer(weights):
    weights["layers.3.ffn_norm.weight"] = np.ones(64, np.float32)


def rewrite(folder, name, edit):
    """Edit the parsed header of a safetensors file in place."""
    data = (folder / name).read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    edit(header)
    text = json.dumps(header).encode()
    (folder / name).write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])


def with_bias(folder):
    write_hugging_face_checkpoint(folder)

    def edit(header):
        name = "model.layers.0.self_attn.q_proj.weight"
        header[name.replace("weight", "bias")] = header.pop(name)

    rewrite(folder, "model.safetensors", edit)


def with_dtype(dtype):
    def apply(folder):
        write_hugging_face_checkpoint(folder)
        key = "model.layers.1.mlp.up_proj.weight"
        edit = lambda header: header[key].update(dtype=dtype)  # noqa: E731
        rewrite(folder, "model.safetensors", edit)

    return apply


def torn(folder):
    write_hugging_face_checkpoint(folder, shards=2)
    path = folder / "model-00002-of-00002.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def lost_part(folder):
    write_hugging_face_checkpoint(folder, shards=2)
    (folder / "model-00002-of-00002.safetensors").unlink()


def index_that(change):
    def apply(folder):
        write_hugging_face_checkpoint(folder, shards=2)
        path = folder / "model.safetensors.index.json"
        path.write_text(json.dumps(change(json.loads(path.read_text()))))

    return apply


def lfs_pointer(folder):
    write_hugging_face_checkpoint(folder)
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n")


def pickled(folder):
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "pytorch_model.bin").write_bytes(b"")


def cut_across(folder):
    write_consolidated_checkpoint(folder)
    data = (folder / "consolidated.safetensors").read_bytes()
    (folder / "consolidated.safetensors").unlink()
    for part in ("00", "01"):
        (folder / f"consolidated.{part}.safetensors").write_bytes(data)


def with_config(text):
    def apply(folder):
        write_hugging_face_checkpoint(folder)
        (folder / "config.json").write_text(text)

    return apply


def eos_outside(folder):
    write_hugging_face_checkpoint(folder, config_overrides={"eos_token_id": 130})


def mixtral(folder):
    write_hugging_face_checkpoint(
        folder, config_overrides={"architectures": ["MixtralForCausalLM"]}
    )


def experts(folder):
    write_consolidated_checkpoint(folder, params_overrides={"moe": {"num_experts": 8}})


def bad_pieces(folder):
    write_consolidated_checkpoint(folder)
    (folder / "tokenizer.model").write_bytes(b"no pieces")


BAD_CHECKPOINTS = {
    "no folder": (lambda folder: None, CheckpointError, ["no checkpoint folder"]),
    "empty folder": (lambda folder: folder.mkdir(), CheckpointError, ["config.json"]),
    "missing tensor": (
        break_one(drop_norm),
        CheckpointError,
        ["model.layers.1.post_attention_layernorm.weight", "(64,)"],
    ),
    "missing head": (break_one(drop_head), CheckpointError, ["lm_head.weight", "(130, 64)"]),
    "wrong shape": (
        break_one(widen_w2),
        CheckpointError,
        ["model.layers.2.mlp.down_proj.weight", "(64, 97)", "(64, 96)"],
    ),
    "too many layers": (break_one(add_layer), CheckpointError, ["model.layers.3.post_attention"]),
    "bias": (with_bias, CheckpointError, ["self_attn.q_proj"]),
    "integer dtype": (with_dtype("I16"), CheckpointError, ["mlp.up_proj.weight", "I16"]),
    "unknown dtype": (with_dtype("Q9"), CheckpointError, ["mlp.up_proj.weight", "Q9"]),
    "torn file": (torn, CheckpointError, ["model-00002-of-00002.safetensors", "Fetch"]),
    "lost file": (lost_part, CheckpointError, ["model-00002-of-00002.safetensors", "Fetch"]),
    "index to nowhere": (
        index_that(lambda index: {"weight_map": dict.fromkeys(index["weight_map"], "../x")}),
        CheckpointError,
        ["../x"],
    ),
    "index without map": (index_that(lambda index: {}), CheckpointError, ["weight_map"]),
    "index of numbers": (
        index_that(lambda index: {"weight_map": {"a": [1]}}),
        CheckpointError,
        ["weight_map"],
    ),
    "index that lies": (
        index_that(
            lambda index: {
                "weight_map": dict.fromkeys(index["weight_map"], "model-00001-of-00002.safetensors")
            }
        ),
        CheckpointError,
        ["not there", "model-00001-of-00002.safetensors"],
    ),
    "lfs pointer": (lfs_pointer, CheckpointError, ["git lfs pull"]),
    "pickle": (pickled, CheckpointError, ["pytorch_model.bin", "safetensors"]),
    "cut across": (cut_across, CheckpointError, ["tok_embeddings.weight", "consolidated.01"]),
    "config that is no JSON": (with_config("{"), CheckpointError, ["config.json", "JSON"]),
    "config that is a list": (with_config("[]"), CheckpointError, ["config.json"]),
    "eos outside": (eos_outside, CheckpointError, ["eos_token_id", "130"]),
    "unknown architecture": (mixtral, UnsupportedModel, ["MixtralForCausalLM"]),
    "experts": (experts, UnsupportedModel, ["moe"]),
    "bad SentencePiece model": (bad_pieces, CheckpointError, ["tokenizer.model"]),
}


def open_files():
    return sorted(path.name for path in Path("/proc/self/fd").iterdir())


@pytest.mark.parametrize("case", BAD_CHECKPOINTS)
def test_a_bad_checkpoint_is_named_before_anything_is_written(tmp_path, case):
    make, kind, said = BAD_CHECKPOINTS[case]
    make(tmp_path / "c")
    open_before = open_files()
    with pytest.raises(kind) as failure:
        shard(tmp_path / "c", tmp_path / "s")
    assert all(words in str(failure.value) for words in said), str(failure.value)
    assert not (tmp_path / "s").exists()
    assert open_files() == open_before
