"""Which files of a folder are read as the checkpoint, whatever else lies beside them."""

import json

import pytest

from pi_cluster.cluster.errors import CheckpointError
from pi_cluster.shard_tool.sources.checkpoint import open_checkpoint
from tests.support.checkpoints import (
    small_config,
    write_consolidated_checkpoint,
    write_hugging_face_checkpoint,
)
from tests.support.stores import beside_text, notes_of, shard

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"


def refusal_of(checkpoint, store):
    """What `shard` says of a checkpoint that it does not read."""
    with pytest.raises(CheckpointError) as failure:
        shard(checkpoint, store)
    assert not store.exists()
    return str(failure.value)


def write_both(folder):
    """The same weights in both families' forms, as Mistral's own repositories have them."""
    write_consolidated_checkpoint(folder)
    write_hugging_face_checkpoint(folder, shards=2)


def drop(*names):
    def apply(folder):
        for name in names:
            (folder / name).unlink()

    return apply


def make_pointers(pattern):
    def apply(folder):
        for path in folder.glob(pattern):
            path.write_text(POINTER)

    return apply


PARTS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
# What is done to a folder with both forms; the file read then; what the notes say.
FOLDERS = {
    "both whole": (drop(), PARTS[0], []),
    "no config.json": (drop("config.json"), PARTS[0], []),
    "no params.json": (drop("params.json"), PARTS[0], []),
    "an index alone": (drop(*PARTS), "consolidated.safetensors", []),
    "an index alone, config.json": (
        drop(*PARTS, "params.json"),
        "consolidated.safetensors",
        [],
    ),
    "an index alone, params.json": (
        drop(*PARTS, "config.json"),
        "consolidated.safetensors",
        [],
    ),
    "a part lost": (drop(PARTS[1]), "consolidated.safetensors", [PARTS[1], "consolidated"]),
    "pointers": (
        make_pointers("model-*"),
        "consolidated.safetensors",
        [PARTS[0], "consolidated"],
    ),
    "consolidated lost": (drop("consolidated.safetensors"), PARTS[0], []),
    "consolidated a pointer": (make_pointers("consolidated*"), PARTS[0], []),
}


@pytest.mark.parametrize("case", FOLDERS)
def test_the_weights_that_are_there_are_read_with_whichever_configuration(tmp_path, case):
    change, file_read, said = FOLDERS[case]
    write_both(tmp_path / "c")
    change(tmp_path / "c")
    with open_checkpoint(tmp_path / "c") as checkpoint:
        assert checkpoint.config == small_config()
        assert checkpoint.tensors["tok_embeddings.weight"].file.path.name == file_read
        notes = beside_text(checkpoint.notes)
        assert all(words in " ".join(notes) for words in said)
        assert bool(notes) == bool(said)
    write_hugging_face_checkpoint(tmp_path / "plain")
    expected = shard(tmp_path / "plain", tmp_path / "expected").digest
    assert shard(tmp_path / "c", tmp_path / "s").digest == expected


def test_two_configurations_that_differ_are_noted_with_the_one_that_is_used(tmp_path):
    write_both(tmp_path / "c")
    write_consolidated_checkpoint(
        tmp_path / "c", params_overrides={"sliding_window": ..., "max_seq_len": 9}
    )
    assert notes_of(tmp_path / "c", tmp_path / "s") == [
        "config.json is used, but params.json differs: by it, sliding_window is null, not 32"
    ]


@pytest.mark.parametrize("text", ["{}", '{"lr": 0.1}', "[", '{"dim": {}}'])
def test_a_params_json_of_something_else_is_not_worth_a_note(tmp_path, text):
    write_hugging_face_checkpoint(tmp_path / "c")
    (tmp_path / "c" / "params.json").write_text(text)
    assert notes_of(tmp_path / "c", tmp_path / "s") == []


def test_the_ids_of_config_json_hold_for_mistrals_weights_too(tmp_path):
    write_both(tmp_path / "c")
    drop(*PARTS)(tmp_path / "c")
    values = json.loads((tmp_path / "c" / "config.json").read_text())
    (tmp_path / "c" / "config.json").write_text(json.dumps(values | {"eos_token_id": [2, 7]}))
    assert shard(tmp_path / "c", tmp_path / "s").eos_ids == (2, 7)


# What is done to such a folder so that nothing can be read; what is said of it.
BROKEN_FOLDERS = {
    "no configuration": (
        drop("config.json", "params.json"),
        ["neither config.json nor params.json", "fetch config.json"],
    ),
    "no configuration of Mistral's": (
        drop("config.json", "params.json", *PARTS),
        ["neither params.json nor config.json", "fetch params.json"],
    ),
    "an index and nothing else": (
        drop(*PARTS, "consolidated.safetensors"),
        [f"fetch {PARTS[0]} and 1 more"],
    ),
    "a part and nothing else": (
        drop(PARTS[1], "consolidated.safetensors"),
        [PARTS[1], "Fetch it"],
    ),
    "all pointers": (make_pointers("*.safetensors"), [PARTS[0], "git lfs pull"]),
    "parts without an index": (
        drop("model.safetensors.index.json", "consolidated.safetensors"),
        [PARTS[0], "no model.safetensors.index.json", "fetch it"],
    ),
}


@pytest.mark.parametrize("case", BROKEN_FOLDERS)
def test_a_folder_in_which_no_form_is_whole_is_told_what_to_fetch(tmp_path, case):
    change, said = BROKEN_FOLDERS[case]
    write_both(tmp_path / "c")
    change(tmp_path / "c")
    message = refusal_of(tmp_path / "c", tmp_path / "s")
    assert all(words in message for words in said), message


def write(folder, **files):
    folder.mkdir()
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(content)


# Folders without weights that could be read: their files, what is said, what is not.
WITHOUT_WEIGHTS = {
    "adapter": (
        {
            "adapter_config__json": '{"base_model_name_or_path": "mistralai/Mistral-7B-v0.1"}',
            "adapter_model__safetensors": "",
            "config__json": "{}",
        },
        ["adapter", "merge", "mistralai/Mistral-7B-v0.1"],
    ),
    "adapter of an unknown base": (
        {"adapter_model__bin": "", "adapter_config__json": '{"base_model_name_or_path": null}'},
        ["adapter", "merge"],
    ),
    "pickles with an index": (
        {
            "config__json": "{}",
            "pytorch_model-00001-of-00002__bin": "",
            "optimizer__pt": "",
            "model__safetensors__index__json": '{"weight_map": {"a": "model-1.safetensors"}}',
        },
        ["pytorch_model-00001-of-00002.bin", "pickle", "save_pretrained"],
    ),
    "Meta's pickles": (
        {"params__json": "{}", "consolidated__00__pth": ""},
        ["consolidated.00.pth", "pickle"],
    ),
    "GGUF": ({"mistral__gguf": ""}, ["mistral.gguf is empty"]),
    "GPTQ under its own name": (
        {
            "config__json": "{}",
            "quantize_config__json": "{}",
            "gptq_model-4bit-128g__safetensors": "",
        },
        ["quantised", "gptq_model-4bit-128g.safetensors", "quantize_config.json"],
    ),
    "another name": (
        {"config__json": "{}", "mistral-7b__safetensors": ""},
        ["mistral-7b.safetensors", "rename it to model.safetensors"],
    ),
}


@pytest.mark.parametrize("case", WITHOUT_WEIGHTS)
def test_a_folder_without_weights_is_told_what_it_holds_instead(tmp_path, case):
    files, said = WITHOUT_WEIGHTS[case]
    write(tmp_path / "c", **files)
    message = refusal_of(tmp_path / "c", tmp_path / "s")
    assert all(words in message for words in said), message
    assert "Fetch all" not in message


def test_an_adapter_beside_a_whole_model_is_noted_as_not_applied(tmp_path):
    write_hugging_face_checkpoint(tmp_path / "c")
    (tmp_path / "c" / "adapter_config.json").write_text("{}")
    assert notes_of(tmp_path / "c", tmp_path / "s") == [
        "the adapter of adapter_config.json is not applied"
    ]
