"""Of what a repository lists, the files that make the model are chosen, and no others."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pi_cluster.cluster.errors import CheckpointError
from pi_cluster.shard_tool.gguf.file_names import gguf_name
from pi_cluster.shard_tool.sources.wanted_files import (
    MAX_SMALL_BYTES,
    ListedFile,
    choose_files,
    named_by_index,
)

TEXT = ["tokenizer.json", "tokenizer.model", "tokenizer_config.json", "chat_template.jinja"]
CONFIGURED = ["config.json", "generation_config.json", *TEXT]
NEEDLESS = [
    *(".gitattributes", "README.md", "LICENSE", "pytorch_model.bin", "pytorch_model-00001.bin"),
    *("tf_model.h5", "flax_model.msgpack", "onnx/model.onnx", "original/consolidated.00.pth"),
    *("original/params.json", "training_args.bin", "../model.safetensors", "/etc/passwd", "a/../b"),
    *("..", "tokenizer.json\x00", "model.safetensors/", "figures/a.png", "runs/config.json"),
    *("adapter_model.safetensors", "vocab.json"),
]
SHARDS = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
INDEX = "model.safetensors.index.json"


def listed(*paths, size_bytes=1_000):
    return [ListedFile(path, size_bytes, "0" * 40) for path in paths]


def chosen(*paths, quantisation=None):
    files = choose_files(listed(*paths), "a/b", quantisation)
    return [file.path for file in (*files.small, *files.weights)]


def refused(*paths, quantisation=None):
    with pytest.raises(CheckpointError) as error:
        choose_files(listed(*paths), "a/b", quantisation)
    return str(error.value)


@pytest.mark.parametrize("weights", [["model.safetensors"], [INDEX, *SHARDS]])
def test_safetensors_come_with_configuration_and_text_and_nothing_else(weights):
    paths = [*NEEDLESS, *reversed(weights), "consolidated.safetensors", *CONFIGURED, "params.json"]
    assert sorted(chosen(*paths)) == sorted([*weights, *CONFIGURED, "params.json"])


def test_mistrals_own_form_is_chosen_where_there_is_no_other():
    paths = ["params.json", "consolidated.safetensors", "tekken.json", "tokenizer.model.v3"]
    assert sorted(chosen(*NEEDLESS, *paths)) == sorted(paths)
    assert choose_files(listed(*paths, "config.json"), "a/b", None).configuration == "params.json"
    theirs = listed("params.json", "config.json", "model.safetensors")
    assert choose_files(theirs, "a/b", None).configuration == "config.json"


def test_small_files_come_before_the_weights_and_are_small():
    files = choose_files(listed(INDEX, *SHARDS, *CONFIGURED), "a/b", None)
    assert {file.path for file in files.small} == {INDEX, *CONFIGURED}
    large = ListedFile("tokenizer.json", MAX_SMALL_BYTES + 1, "0" * 40)
    with pytest.raises(CheckpointError, match=r"tokenizer\.json of a/b has \d+ bytes; at most"):
        choose_files([large, *listed("config.json", "model.safetensors")], "a/b", None)


def test_an_index_says_which_weights_are_fetched_and_one_that_lacks_is_told():
    weights = choose_files(listed(INDEX, *SHARDS, "extra.safetensors", *CONFIGURED), "a/b", None)
    named = named_by_index(weights.weights, SHARDS, "a/b")
    assert [file.path for file in named] == SHARDS
    with pytest.raises(CheckpointError, match=r"index of a/b names model-9\.safetensors, which"):
        named_by_index(weights.weights, ["model-9.safetensors"], "a/b")


GGUFS = ["x-Q2_K.gguf", "x-Q4_0.gguf", "x-Q4_K_M.gguf", "x.Q8_0.gguf", "mmproj-F16.gguf"]


@pytest.mark.parametrize(
    ("said", "path"),
    [
        (None, "x-Q4_K_M.gguf"),
        ("Q8_0", "x.Q8_0.gguf"),
        ("q4_0", "x-Q4_0.gguf"),
        ("x.Q8_0.gguf", "x.Q8_0.gguf"),
    ],
)
def test_one_quantisation_is_chosen_by_its_name_and_by_default_q4_k_m(said, path):
    assert chosen(*GGUFS, *CONFIGURED, quantisation=said) == [path]


def test_the_codebook_of_four_bits_that_is_read_is_taken_by_its_name():
    files = ("x-IQ4_NL.gguf", "x-IQ4_XS.gguf")
    assert chosen(*files) == ["x-IQ4_NL.gguf"]
    assert chosen(*files, *GGUFS, quantisation="iq4_nl") == ["x-IQ4_NL.gguf"]


def test_safetensors_come_first_unless_a_quantisation_is_named():
    assert "model.safetensors" in chosen(*GGUFS, "model.safetensors", "config.json")
    assert chosen(*GGUFS, "model.safetensors", "config.json", quantisation="Q8_0") == [GGUFS[3]]


def test_parts_in_a_folder_are_one_model_and_all_of_them_are_needed():
    parts = [f"Q8_0/x-Q8_0-{n:05d}-of-00003.gguf" for n in (1, 2, 3)]
    assert chosen(*reversed(parts), "x-Q4_0.gguf", quantisation="Q8_0") == parts
    assert "lacks part 2 of 3 of Q8_0/x-Q8_0.gguf" in refused(*parts[::2], quantisation="q8_0")


def test_without_the_default_the_only_one_is_taken_and_of_several_each_is_told_with_its_size():
    assert chosen("x-Q2_K.gguf", "x-Q8_0.gguf") == ["x-Q8_0.gguf"]
    assert chosen("model.gguf", "README.md") == ["model.gguf"]
    assert "no Q4_K_M. Say which of these: a/b:Q4_0 (0.00 GB), a/b:Q8_0 (0.00 GB)" in refused(
        "x-Q4_0.gguf", "x-Q8_0.gguf", "x-IQ3_M.gguf"
    )
    assert "has no Q6_K. Say which" in refused(*GGUFS, quantisation="Q6_K")
    assert "say which, as in a/b:x-Q4_K_M.gguf or a/b:y-Q4_K_M.gguf" in refused(
        "x-Q4_K_M.gguf", "y-Q4_K_M.gguf"
    )


@pytest.mark.parametrize(
    "label", ["Q2_K", "Q3_K_M", "IQ4_XS", "IQ1_S", "TQ1_0", "MXFP4", "UD-Q2_K_XL"]
)
def test_formats_that_are_not_read_are_refused_by_name_before_anything_is_fetched(label):
    told = refused(f"x-{label}.gguf", *GGUFS, quantisation=label)
    assert f"in {label}: weights of this format are not read here" in told and "a/b:Q8_0" in told
    assert label in refused(f"x-{label}.gguf")


@pytest.mark.parametrize(
    ("paths", "told"),
    [
        (["adapter_config.json", "adapter_model.safetensors"], "holds an adapter (LoRA)"),
        (["config.json", "pytorch_model.bin"], "pytorch_model.bin, a pickle, which is never read"),
        (["config.json", "model.safetensors", "quantize_config.json"], "has quantised weights"),
        (["model.safetensors", "tokenizer.json"], "neither config.json nor params.json"),
        (["unet/diffusion.safetensors"], "weights of this name are not read"),
        (["README.md"], "has no weights"),
        ([], "has no weights"),
    ],
)
def test_a_repository_without_a_model_for_us_is_told_what_it_has_instead(paths, told):
    assert told in refused(*paths)


def test_a_quantisation_of_a_repository_without_any_is_told_to_be_left_out():
    assert "has no GGUF files" in refused("config.json", "model.safetensors", quantisation="Q8_0")


@pytest.mark.parametrize(
    ("path", "quantisation", "part", "parts"),
    [
        ("SmolLM2-135M-Instruct.Q4_1.gguf", "Q4_1", 1, 1),
        ("a/b/model-q4_k_m-00002-of-00011.gguf", "Q4_K_M", 2, 11),
        ("Qwen3-0.6B-UD-Q4_K_XL.gguf", "UD-Q4_K_XL", 1, 1),
        ("ggml-model-f16.gguf", "F16", 1, 1),
        ("llama-bf16.GGUF", "BF16", 1, 1),
        ("plain.gguf", "", 1, 1),
    ],
)
def test_a_name_of_a_gguf_tells_quantisation_and_part(path, quantisation, part, parts):
    named = gguf_name(path)
    assert (named.quantisation, named.part, named.parts) == (quantisation, part, parts)
    assert gguf_name(path + ".txt") is None


PATHS = st.lists(
    st.one_of(
        st.sampled_from([*NEEDLESS, *CONFIGURED, *SHARDS, INDEX, *GGUFS, "model.safetensors"]),
        st.text(max_size=30),
        st.text(max_size=20).map(lambda text: f"{text}.gguf"),
    ),
    max_size=12,
)


@given(PATHS, st.one_of(st.none(), st.sampled_from(["Q4_K_M", "Q8_0"]), st.text(max_size=9)))
def test_whatever_is_listed_and_named_no_chosen_path_leaves_its_folder(paths, quantisation):
    try:
        found = chosen(*paths, quantisation=quantisation)
    except CheckpointError:
        return
    for path in found:
        assert not path.startswith("/") and "\x00" not in path
        assert all(part and part not in (".", "..") for part in path.split("/"))
