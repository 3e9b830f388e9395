"""Checkpoints whose tensors are not those of a plain model: what is said, and what is used."""

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from pi_cluster.cluster.errors import CheckpointError
from tests.support.checkpoints import (
    random_weights,
    small_config,
    write_consolidated_checkpoint,
    write_hugging_face_checkpoint,
)
from tests.support.stores import notes_of, shard

SMALL = small_config()
Q_PROJ = "model.layers.0.self_attn.q_proj.weight"


def rename(change):
    """Write the checkpoint of ``SMALL``, its tensors changed as a whole."""

    def apply(folder):
        write_hugging_face_checkpoint(folder, dtype="float32")
        tensors = load_file(folder / "model.safetensors")
        save_file(change(tensors), folder / "model.safetensors")

    return apply


def with_prefix(prefix, removed=""):
    return rename(lambda tensors: {prefix + n.removeprefix(removed): t for n, t in tensors.items()})


def beside(name, tensor):
    return rename(lambda tensors: tensors | {name: tensor})


def gptq(tensors):
    """Each projection as GPTQ has it: packed integers, zeros, scales and the order of columns."""
    quantised = dict(tensors)
    for name in [name for name in tensors if name.endswith("_proj.weight")]:
        rows, columns = quantised.pop(name).shape
        stem = name.removesuffix("weight")
        quantised[stem + "qweight"] = np.zeros((columns // 8, rows), np.int32)
        quantised[stem + "qzeros"] = np.zeros((1, rows // 8), np.int32)
        quantised[stem + "scales"] = np.ones((1, rows), np.float16)
        quantised[stem + "g_idx"] = np.zeros(columns, np.int32)
    return quantised


def without(*endings):
    return rename(lambda tensors: {n: t for n, t in tensors.items() if not n.endswith(endings)})


def unmerged(tensors):
    lora = {Q_PROJ.replace("weight", "lora_A.default.weight"): np.zeros((4, 64), np.float32)}
    return {f"base_model.model.{name}": tensor for name, tensor in (tensors | lora).items()}


ONES = np.ones(1, np.float32)
# What is done to the tensors, what is said, and what it must not advise.
UNFIT = {
    "GPTQ": (rename(gptq), ["quantised", "bfloat16"]),
    "bitsandbytes in 4 bits": (beside(f"{Q_PROJ}.absmax", ONES), ["quantised", "absmax"]),
    "bitsandbytes in 4 bits, state": (
        beside(f"{Q_PROJ}.quant_state.bitsandbytes__nf4", ONES),
        ["quantised"],
    ),
    "bitsandbytes in 8 bits": (beside(Q_PROJ.replace("weight", "SCB"), ONES), ["quantised"]),
    "FP8": (beside(f"{Q_PROJ}_scale_inv", ONES), ["quantised"]),
    "compressed-tensors": (beside(f"{Q_PROJ}_packed", ONES), ["quantised"]),
    "MLX": (beside(Q_PROJ.replace("weight", "scales"), ONES), ["quantised"]),
    "an adapter around it": (rename(unmerged), ["adapter", "merge_and_unload"]),
    "PEFT's names": (with_prefix("base_model.model."), ["'base_model.model.'", "merge"]),
    "trained in parallel": (with_prefix("module."), ["'module.'", "save model.module"]),
    "compiled": (with_prefix("_orig_mod."), ["'_orig_mod.'", "model._orig_mod"]),
    "part of a model of images": (
        with_prefix("language_model."),
        ["'language_model.'", "images"],
    ),
    "the same, newer names": (
        with_prefix("model.language_model.", removed="model."),
        ["'model.language_model.'", "images"],
    ),
    "another wrapper": (with_prefix("net."), ["'net.'", "save the model alone"]),
    "a model without its head": (
        rename(lambda tensors: {n.removeprefix("model."): t for n, t in tensors.items()}),
        ["without its head", "whole model"],
    ),
    "no head": (
        without("lm_head.weight"),
        ["lm_head.weight", "tie_word_embeddings to true", "config.json"],
    ),
    "config.json of another model": (
        without("layers.2.mlp.up_proj.weight"),
        ["model.layers.2.mlp.up_proj.weight", "two models"],
    ),
}


@pytest.mark.parametrize("case", UNFIT)
def test_tensors_of_another_kind_are_named_with_a_next_step_that_helps(tmp_path, case):
    make, said = UNFIT[case]
    make(tmp_path / "c")
    with pytest.raises(CheckpointError) as failure:
        shard(tmp_path / "c", tmp_path / "s")
    assert all(words in str(failure.value) for words in said), str(failure.value)
    assert "Fetch all" not in str(failure.value)
    assert not (tmp_path / "s").exists()


def test_parts_of_mistrals_form_that_are_not_all_there_are_asked_for(tmp_path):
    weights = random_weights(SMALL)
    half = {name: t for name, t in weights.items() if not name.startswith("layers.2.")}
    write_consolidated_checkpoint(tmp_path / "c", weights=half)
    (tmp_path / "c" / "consolidated.safetensors").rename(
        tmp_path / "c" / "consolidated.00.safetensors"
    )
    with pytest.raises(CheckpointError, match=r"fetch all files consolidated\.\*\.safetensors"):
        shard(tmp_path / "c", tmp_path / "s")


def test_a_head_that_mistrals_form_lacks_is_asked_for_by_that_forms_key(tmp_path):
    weights = random_weights(SMALL, tied=True)
    write_consolidated_checkpoint(tmp_path / "c", weights=weights)
    with pytest.raises(CheckpointError, match=r"params\.json .* set tied_embeddings to true"):
        shard(tmp_path / "c", tmp_path / "s")
    write_consolidated_checkpoint(
        tmp_path / "d", weights=weights, params_overrides={"tied_embeddings": True}
    )
    shard(tmp_path / "d", tmp_path / "s")


def head_of(store):
    return load_file(store / "head.safetensors")["output.weight"]


def test_of_a_tied_embedding_and_another_head_the_embedding_is_used_and_a_note_says_so(tmp_path):
    weights = write_hugging_face_checkpoint(
        tmp_path / "c", tied=True, weights=random_weights(SMALL)
    )
    (note,) = notes_of(tmp_path / "c", tmp_path / "s")
    for words in ("'model.embed_tokens.weight' is used", "tie_word_embeddings", "to false"):
        assert words in note
    assert "another 'lm_head.weight'" in note
    np.testing.assert_array_equal(head_of(tmp_path / "s"), weights["tok_embeddings.weight"])
    write_hugging_face_checkpoint(tmp_path / "d", weights=weights)  # says that it is not tied
    assert notes_of(tmp_path / "d", tmp_path / "t") == []
    np.testing.assert_array_equal(head_of(tmp_path / "t"), weights["output.weight"])


def test_mistrals_form_with_two_heads_is_noted_by_its_own_names(tmp_path):
    write_consolidated_checkpoint(tmp_path / "c", params_overrides={"tied_embeddings": True})
    (note,) = notes_of(tmp_path / "c", tmp_path / "s")
    assert "'tok_embeddings.weight' is used" in note
    assert "params.json has tied_embeddings" in note


@pytest.mark.parametrize("block_bytes", [1, 1 << 20])
def test_a_head_that_equals_its_tied_embedding_is_not_worth_a_note(
    tmp_path, monkeypatch, block_bytes
):
    monkeypatch.setattr("pi_cluster.shard_tool.sources.source_tensor.BLOCK_BYTES", block_bytes)
    weights = random_weights(SMALL)
    weights["output.weight"] = weights["tok_embeddings.weight"].copy()
    write_hugging_face_checkpoint(tmp_path / "c", tied=True, weights=weights)
    assert notes_of(tmp_path / "c", tmp_path / "s") == []
    weights["output.weight"][-1, -1] += 0.5  # the last value of the last block
    write_hugging_face_checkpoint(tmp_path / "d", tied=True, weights=weights)
    assert len(notes_of(tmp_path / "d", tmp_path / "t")) == 1


def test_a_tied_model_that_kept_its_head_instead_of_its_embedding_is_read(tmp_path):
    weights = random_weights(SMALL, tied=True)
    write_hugging_face_checkpoint(tmp_path / "c", tied=True, weights=weights)
    expected = shard(tmp_path / "c", tmp_path / "s").digest
    weights["output.weight"] = weights.pop("tok_embeddings.weight")
    write_hugging_face_checkpoint(tmp_path / "d", tied=True, weights=weights)
    assert shard(tmp_path / "d", tmp_path / "t").digest == expected


def test_tensors_that_are_no_part_of_the_model_are_left_out_with_a_note(tmp_path):
    beside("value_head.weight", ONES)(tmp_path / "c")
    assert notes_of(tmp_path / "c", tmp_path / "s") == [
        "left out, being no part of this model: 'value_head.weight'"
    ]


def test_the_command_tells_its_notes_on_standard_error(tmp_path, cluster):
    write_hugging_face_checkpoint(tmp_path / "c", config_overrides={"rope_theta": ...})
    done = cluster.run("shard", str(tmp_path / "c"), "--out", str(tmp_path / "s"))
    assert done.code == 0, done.err
    assert done.out == ""
    *notes, last = done.err.splitlines()
    assert notes[0].startswith("note: config.json has no rope_theta: 10000.0 is taken")
    assert notes[1].startswith(f"note: {tmp_path}/c has no tokenizer.model")
    assert "Next: pi-cluster up" in last
