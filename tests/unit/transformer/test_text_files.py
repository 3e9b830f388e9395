"""A checkpoint's text files: which are read, what each says, and the name of a bad one."""

import json
from pathlib import Path

import pytest

from pi_cluster.cluster.store.manifest import TOKENIZER_NAMES
from pi_cluster.transformer.errors import ModelError
from pi_cluster.transformer.text import text_files
from pi_cluster.transformer.text.added_tokens import AddedToken
from pi_cluster.transformer.text.text_files import TextFiles
from tests.support.small_tokenizers import PARITY, small_tekken

MODEL = Path(__file__).parents[3] / "storyteller" / "checkpoint" / "tokenizer.model"
X = {"id": 2048, "content": "<x>", "special": True}


def write(folder, **contents):
    """Text files in ``folder``: objects as JSON, the others as they are."""
    paths = {"tokenizer.model": MODEL}
    for stem, content in contents.items():
        name = stem + (".jinja" if stem == "chat_template" else ".json")
        paths[name] = folder / name
        is_text = isinstance(content, str)
        paths[name].write_text(content if is_text else json.dumps(content), encoding="utf-8")
    return TextFiles(paths, 2050, None)


def test_a_store_may_list_each_of_them():
    own = (
        text_files.MODEL,
        text_files.CONFIG,
        text_files.TEMPLATE,
        text_files.ADDED,
        text_files.SPECIAL_MAP,
        text_files.TOKENIZER_JSON,
        text_files.TEKKEN,
    )
    assert own == TOKENIZER_NAMES


def test_only_those_that_say_something_are_of_use(tmp_path):
    every = {name: {} for name in ("added_tokens", "special_tokens_map", "tokenizer")}
    listed = write(tmp_path, tokenizer_config={"added_tokens_decoder": {}}, **every)
    assert listed.used_names == {"tokenizer.model", "tokenizer_config.json"}
    unlisted = write(tmp_path, tokenizer_config={}, **every)
    assert unlisted.used_names == set(TOKENIZER_NAMES) - {"chat_template.jinja", "tekken.json"}


def test_an_added_token_that_the_model_has_no_id_for_is_left_out(tmp_path):
    files = write(tmp_path, added_tokens={"<x>": 2049, "<y>": 2050})
    assert [token.id for token in files.added_tokens] == [2049, 2050]
    assert 2049 in files.tokenizer and 2050 not in files.tokenizer


def test_the_special_map_wins_where_the_configuration_lists_no_tokens(tmp_path):
    special_map = {"eos_token": {"content": "[INST]"}}
    config = {"eos_token": "</s>"}
    files = write(tmp_path, special_tokens_map=special_map, tokenizer_config=config)
    assert files.special_tokens == {"eos_token": "[INST]"}
    config["added_tokens_decoder"] = {}
    files = write(tmp_path, special_tokens_map=special_map, tokenizer_config=config)
    assert files.special_tokens == {"eos_token": "</s>"}


def metaspace(scheme):
    return {"type": "Metaspace", "prepend_scheme": scheme}


@pytest.mark.parametrize(
    ("config", "tokenizer", "expected"),
    [
        ({}, None, True),
        ({"legacy": True}, None, True),
        ({"legacy": False}, None, False),
        ({}, {"pre_tokenizer": None, "normalizer": {"type": "Sequence"}}, True),
        ({}, {"pre_tokenizer": metaspace("always")}, True),
        ({}, {"pre_tokenizer": metaspace("first")}, False),
        ({}, {"pre_tokenizer": {"pretokenizers": [metaspace("first")]}}, False),
        ({"legacy": True}, {"pre_tokenizer": metaspace("first")}, True),
    ],
)
def test_where_dummy_prefixes_go_is_read_from_either_file(tmp_path, config, tokenizer, expected):
    more = {} if tokenizer is None else {"tokenizer": tokenizer}
    assert write(tmp_path, tokenizer_config=config, **more).tokenizer.legacy is expected


def test_tokens_of_a_tokenizer_json_are_read_beside_a_tokenizer_model(tmp_path):
    files = write(tmp_path, tokenizer_config={}, tokenizer={"added_tokens": [X]})
    assert files.added_tokens == [AddedToken(2048, "<x>")]


def test_a_template_in_a_file_of_its_own_wins(tmp_path):
    files = write(tmp_path, chat_template="[INST]", tokenizer_config={"chat_template": "</s>"})
    assert files.template.encode([{"role": "user", "content": "x"}]) == [3]
    assert files.template_name == str(tmp_path / "chat_template.jinja")


@pytest.mark.parametrize("torn", ["{", "[]", "5", "[" * 100_000, "version https://git-lfs\n"])
@pytest.mark.parametrize("stem", ["tokenizer_config", "added_tokens", "special_tokens_map"])
def test_a_torn_file_is_named(tmp_path, stem, torn):
    with pytest.raises(ModelError, match=rf"{stem}\.json .*(fetch it again|git lfs pull)"):
        _ = write(tmp_path, **{stem: torn}).tokenizer


def test_a_tokenizer_larger_than_the_model_is_refused_with_both_sizes():
    with pytest.raises(ModelError, match=r"tokenizer\.model has 2048 pieces .* only 2047"):
        _ = TextFiles({"tokenizer.model": MODEL}, 2047, None).tokenizer


def test_a_file_that_went_away_is_named(tmp_path):
    files = TextFiles({"tokenizer.model": tmp_path / "tokenizer.model"}, 2048, None)
    with pytest.raises(ModelError, match=r"cannot read .*tokenizer\.model: No such file"):
        _ = files.tokenizer


RANKS_OF_TIKTOKEN = "IQ== 0\nIg== 1\n"


def beside(folder, model, tokenizer_json, vocab_size=2050):
    """A ``tokenizer.model`` and a ``tokenizer.json`` that belongs to the model."""
    paths = {"tokenizer.model": folder / "tokenizer.model", "tokenizer.json": tokenizer_json}
    paths["tokenizer.model"].write_bytes(model)
    return TextFiles(paths, vocab_size, None)


LLAMA = PARITY / "tokenizers" / "llama-3.json"


def test_the_first_file_that_belongs_to_the_model_is_its_tokenizer(tmp_path):
    sound = beside(tmp_path, MODEL.read_bytes(), LLAMA)
    assert (sound.tokenizer_file, sound.passed_over) == ("tokenizer.model", None)
    # Llama 3's own download has ranks of tiktoken under that name.
    ranks = beside(tmp_path, RANKS_OF_TIKTOKEN.encode(), LLAMA)
    assert ranks.tokenizer_file == "tokenizer.json" and "tokenizer.model" not in ranks.used_names
    assert "no SentencePiece model, but ranks of tiktoken" in ranks.passed_over
    larger = beside(tmp_path, MODEL.read_bytes(), LLAMA, vocab_size=500)
    assert larger.tokenizer_file == "tokenizer.json"
    assert "2048 pieces and the model only 500" in larger.passed_over


def test_a_torn_tokenizer_model_is_not_passed_over(tmp_path):
    files = beside(tmp_path, MODEL.read_bytes()[:5_000], LLAMA)
    with pytest.raises(ModelError, match=r"tokenizer\.model: this is no SentencePiece"):
        _ = files.tokenizer


def test_a_tekken_goes_before_a_tokenizer_json_and_brings_a_template_of_ours(tmp_path):
    paths = {"tekken.json": tmp_path / "tekken.json", "tokenizer.json": LLAMA}
    paths["tekken.json"].write_text(json.dumps(small_tekken(version="v7")))
    files = TextFiles(paths, 1_100, None)
    assert (files.tokenizer_file, files.used_names) == ("tekken.json", {"tekken.json"})
    assert files.template.encode([{"role": "user", "content": ""}]) == [1, 3, 4]
    paths["tekken.json"].write_text(json.dumps(small_tekken(version="v99")))
    assert not TextFiles(paths, 1_100, None).has_template


def test_the_added_tokens_of_a_tokenizer_json_are_read_from_it_and_named_by_it(tmp_path):
    values = json.loads(LLAMA.read_text()) | {"added_tokens": [{"id": "x", "content": "<x>"}]}
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(values))
    with pytest.raises(ModelError, match=rf"{path}: added_tokens .* has 'x'"):
        _ = TextFiles({"tokenizer.json": path}, 500, None).tokenizer
