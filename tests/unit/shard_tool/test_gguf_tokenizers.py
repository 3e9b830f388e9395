import json

import numpy as np
import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from sentencepiece import SentencePieceProcessor

from pi_cluster.cluster.errors import CheckpointError
from pi_cluster.shard_tool.gguf.keys import Keys
from pi_cluster.shard_tool.gguf.pre_tokenizers import PRE_TOKENIZERS
from pi_cluster.shard_tool.gguf.text_files import write_text_files
from tests.support.gguf_vocabularies import (
    CHATML,
    CONTROL,
    NORMAL,
    byte_alphabet,
    byte_level_keys,
    sentencepiece_keys,
)

TOKENS, TYPES = "tokenizer.ggml.tokens", "tokenizer.ggml.token_type"


def write(folder, values, vocab_size=None):
    size = len(values[TOKENS]) if vocab_size is None else vocab_size
    return write_text_files(Keys(folder / "model.gguf", values), size, folder)


def refusal_of(folder, values, vocab_size=None):
    with pytest.raises(CheckpointError) as failure:
        write(folder, values, vocab_size)
    assert str(folder / "model.gguf") in str(failure.value)
    assert not list(folder.iterdir())
    return str(failure.value)


def read_json(path):
    return json.loads(path.read_text())


def test_a_byte_level_tokenizer_becomes_files_that_read_text(tmp_path):
    values = byte_level_keys(size=300)
    assert write(tmp_path, values) == {"bos_token_id": 263, "eos_token_id": [265]}
    tokenizer = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    ids = {token: number for number, token in enumerate(values[TOKENS])}
    expected = [ids["the"], ids["Ġfox"], ids["1"], ids["2"], ids["."]]
    assert tokenizer.encode("the fox12.").ids == expected
    assert tokenizer.encode("<|im_start|>").ids == [264]
    assert tokenizer.decode(tokenizer.encode("fées ☃").ids) == "fées ☃"
    assert (tmp_path / "chat_template.jinja").read_text() == CHATML
    config = read_json(tmp_path / "tokenizer_config.json")
    assert config["eos_token"] == "<|im_end|>"
    assert config["bos_token"] == "<|endoftext|>"
    assert config["add_bos_token"] is False
    added = config["added_tokens_decoder"]
    assert {number: token["content"] for number, token in added.items()} == {
        "263": "<|endoftext|>",
        "264": "<|im_start|>",
        "265": "<|im_end|>",
        "266": "<think>",
    }
    assert [token["special"] for token in added.values()] == [True, True, True, False]
    assert tokenizer.get_vocab_size() == 267  # what fills the embedding up is no token


def test_tokens_of_control_keep_their_ids_wherever_they_are(tmp_path):
    values = byte_level_keys()
    tokens = values[TOKENS]
    values[TOKENS] = tokens[263:266] + tokens[:263] + tokens[266:]
    values[TYPES] = np.array([CONTROL] * 3 + [NORMAL] * 264, np.int32)
    write(tmp_path, values | {"tokenizer.ggml.eos_token_id": 2, "tokenizer.ggml.bos_token_id": 0})
    tokenizer = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert tokenizer.encode("<|im_end|>").ids == [2]
    assert tokenizer.get_vocab() == {token: i for i, token in enumerate(values[TOKENS])}


# The pieces that each rule cuts this text into, as the tokenizer.json of the family has it.
TEXT = "Don't CamelCASE 12345\n\n  x/\nÉté"
PIECES = {
    "llama-bpe": ["Don", "'t", " CamelCASE", " ", "123", "45", "\n\n", " ", " x", "/\n", "Été"],
    "qwen2": ["Don", "'t", " CamelCASE", " ", *"12345", "\n\n", " ", " x", "/\n", "Été"],
    "smollm": ["Don", "'t", " CamelCASE", " ", *"12345", "\n\n ", " x", "/", "\n", "Été"],
    "tekken": ["Don", "'t", " Camel", "CASE", " ", *"12345", "\n\n", " ", " x", "/\n", "Été"],
    "gpt-2": ["Don", "'t", " CamelCASE", " 12345", "\n\n ", " x", "/", "\n", "Été"],
    "gpt-4o": ["Don't", " Camel", "CASE", " ", "123", "45", "\n\n", " ", " x", "/\n", "Été"],
}
SAME = {"smaug-bpe": "llama-bpe", "deepseek-r1-qwen": "qwen2", "llama4": "gpt-4o"}
SAME |= dict.fromkeys(("llama3", "llama-v3", "pixtral"), "llama-bpe")


@pytest.mark.parametrize("name", PRE_TOKENIZERS)
def test_each_rule_cuts_text_as_the_tokenizers_of_its_family(tmp_path, name):
    write(tmp_path, byte_level_keys(pre=name))
    rule = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json")).pre_tokenizer
    pieces = [TEXT[start:end] for _, (start, end) in rule.pre_tokenize_str(TEXT)]
    assert pieces == PIECES[SAME.get(name, name)]


def test_tekkens_rule_is_that_of_mistrals_own_files(tekken_patterns):
    assert tekken_patterns
    assert set(tekken_patterns) == {PRE_TOKENIZERS["tekken"].pattern}


@pytest.fixture
def tekken_patterns():
    from importlib.resources import files

    data = files("mistral_common") / "data"
    found = [path for path in data.iterdir() if path.name.startswith("tekken")]
    return [read_json(path)["config"]["pattern"] for path in found]


@pytest.mark.parametrize(
    ("pre", "flag", "adds"),
    [
        ("llama-bpe", None, True),
        ("tekken", None, True),
        ("qwen2", None, False),
        ("smaug-bpe", None, False),
        ("llama-bpe", False, False),
        ("qwen2", True, True),
    ],
)
def test_bos_begins_texts_where_file_or_family_says_so(tmp_path, pre, flag, adds):
    values = byte_level_keys(pre, **{"tokenizer.ggml.add_bos_token": flag})
    write(tmp_path, values)
    assert read_json(tmp_path / "tokenizer_config.json")["add_bos_token"] is adds


def test_every_way_to_end_an_answer_is_found(tmp_path):
    ends = {"eos": 263, "eot": 265, "eom": 266}
    values = byte_level_keys(**{f"tokenizer.ggml.{n}_token_id": i for n, i in ends.items()})
    assert write(tmp_path, values)["eos_token_id"] == [263, 265, 266]
    # An end is a token of control, whatever the file calls it.
    added = read_json(tmp_path / "tokenizer_config.json")["added_tokens_decoder"]
    assert added["266"] == added["265"] | {"content": "<think>"}


def test_a_sentencepiece_tokenizer_becomes_a_model_that_reads_text(tmp_path):
    values = sentencepiece_keys(size=310)
    assert write(tmp_path, values) == {"bos_token_id": 1, "eos_token_id": [2]}
    model = SentencePieceProcessor(model_file=str(tmp_path / "tokenizer.model"))
    assert (model.unk_id(), model.bos_id(), model.eos_id()) == (0, 1, 2)
    assert model.vocab_size() == 310
    assert [model.id_to_piece(i) for i in range(10)] == values[TOKENS][:10]
    assert model.encode("the fox", out_type=str) == ["▁the", "▁fox"]
    assert model.encode("  ☃", out_type=str) == ["▁", "▁", "▁", "<0xE2>", "<0x98>", "<0x83>"]
    assert model.encode("a new word", out_type=str) == ["▁", "a", "▁", "new▁word"]
    assert "<|im_end|>" not in model.encode("<|im_end|>", out_type=str)
    assert model.decode(model.encode("é ☃ \n")) == "é ☃ \n"
    config = read_json(tmp_path / "tokenizer_config.json")
    assert (config["bos_token"], config["eos_token"]) == ("<s>", "</s>")
    assert config["add_bos_token"] is True
    assert [token["content"] for token in config["added_tokens_decoder"].values()] == [
        *("<s>", "</s>", "<|im_start|>", "<|im_end|>", "new word"),
    ]
    assert not (tmp_path / "chat_template.jinja").exists()


def test_the_space_before_a_text_is_left_out_where_the_file_says_so(tmp_path):
    write(tmp_path, sentencepiece_keys(**{"tokenizer.ggml.add_space_prefix": False}))
    model = SentencePieceProcessor(model_file=str(tmp_path / "tokenizer.model"))
    assert model.encode("the", out_type=str) == ["t", "he"]


def test_ids_that_llama_has_are_taken_where_the_file_names_none(tmp_path):
    names = [f"tokenizer.ggml.{name}_token_id" for name in ("bos", "eos", "unknown")]
    values = {key: v for key, v in sentencepiece_keys().items() if key not in names}
    assert write(tmp_path, values) == {}
    model = SentencePieceProcessor(model_file=str(tmp_path / "tokenizer.model"))
    assert (model.unk_id(), model.bos_id(), model.eos_id()) == (0, 1, 2)


def test_mistrals_later_models_have_no_space_behind_their_tokens_of_control(tmp_path):
    write(tmp_path, sentencepiece_keys())
    assert read_json(tmp_path / "tokenizer_config.json")["legacy"] is True
    values = sentencepiece_keys()
    values[TOKENS][-3] = "[INST]"
    write(tmp_path, values)
    assert read_json(tmp_path / "tokenizer_config.json")["legacy"] is False


def changed(keys, key, change):
    values = keys()
    values[key] = change(values[key])
    return values


@pytest.mark.parametrize("keys", [byte_level_keys, sentencepiece_keys])
@pytest.mark.parametrize("more", [-1, 1])
def test_a_vocabulary_of_another_size_than_the_embedding_is_named(tmp_path, keys, more):
    values = keys()
    size = len(values[TOKENS])
    message = refusal_of(tmp_path, values, size + more)
    assert f"lists {size} tokens, and the model's embedding has {size + more} rows" in message


@pytest.mark.parametrize("keys", [byte_level_keys, sentencepiece_keys])
def test_what_is_amiss_with_a_vocabulary_is_named(tmp_path, keys):
    twice = changed(keys, TOKENS, lambda tokens: [*tokens[:-1], tokens[7]])
    assert f"{TOKENS} of {tmp_path / 'model.gguf'} has {twice[TOKENS][7]!r} twice" in refusal_of(
        tmp_path, twice
    )
    shorter = changed(keys, TYPES, lambda types: types[:-1])
    assert f"{TYPES} of" in refusal_of(tmp_path, shorter)
    for type_ in (0, 7):
        other = changed(keys, TYPES, lambda types, t=type_: np.array([t, *types[1:]], np.int32))
        assert f"has the type {type_}" in refusal_of(tmp_path, other)
    assert "has a tokenizer but no" in refusal_of(
        tmp_path, changed(keys, TOKENS, lambda _: None), 9
    )
    assert "it must be a list of texts" in refusal_of(
        tmp_path, changed(keys, TOKENS, lambda _: np.arange(4)), 4
    )
    behind = keys(**{"tokenizer.ggml.eos_token_id": 100_000})
    assert "eos_token_id of" in refusal_of(tmp_path, behind)
    assert "must be a whole number" in refusal_of(
        tmp_path, keys(**{"tokenizer.ggml.bos_token_id": "1"})
    )
    assert "is no text" in refusal_of(
        tmp_path, changed(keys, TOKENS, lambda tokens: [*tokens[:-1], ""])
    )


@pytest.mark.parametrize("kind", ["bert", "t5", "rwkv", "plamo2", "gemma4"])
def test_a_kind_of_tokenizer_that_is_not_read_is_named(tmp_path, kind):
    message = refusal_of(tmp_path, byte_level_keys(**{"tokenizer.ggml.model": kind}))
    assert f'is "{kind}"; only llama and gpt2 are read' in message


@pytest.mark.parametrize("pre", ["deepseek-v3", "QWEN2", ""])
def test_a_rule_that_is_not_known_is_named(tmp_path, pre):
    message = refusal_of(tmp_path, byte_level_keys(pre))
    assert f'is "{pre}", and that way to cut text is not known' in message
    assert "Fetch the model's checkpoint as safetensors" in message


@pytest.mark.parametrize("pre", ["default", None])
def test_a_file_that_names_no_rule_is_refused(tmp_path, pre):
    values = byte_level_keys(**{"tokenizer.ggml.pre": pre})
    assert "does not say how its tokenizer cuts text" in refusal_of(tmp_path, values)


@pytest.mark.parametrize("merges", [["th e", "t q x"], ["the"], ["t  h"], [""], ["x owl"]])
def test_a_merge_that_makes_no_token_is_named(tmp_path, merges):
    message = refusal_of(tmp_path, byte_level_keys(**{"tokenizer.ggml.merges": merges}))
    assert f"{merges[-1]!r}, is not of two tokens that make a third" in message


@pytest.mark.parametrize("merges", [None, []])
def test_merges_that_are_missing_are_named(tmp_path, merges):
    message = refusal_of(tmp_path, byte_level_keys(**{"tokenizer.ggml.merges": merges}))
    assert "has no tokenizer.ggml.merges" in message


def test_scores_that_are_missing_or_no_numbers_are_named(tmp_path):
    for scores in (None, np.ones(3, np.float32)):
        values = sentencepiece_keys(**{"tokenizer.ggml.scores": scores})
        assert "tokenizer.ggml.scores of" in refusal_of(tmp_path, values)
    values = sentencepiece_keys()
    values["tokenizer.ggml.scores"][4] = np.nan
    assert "a number that is not finite" in refusal_of(tmp_path, values)


def test_bytes_of_which_some_are_missing_are_named(tmp_path):
    values = changed(sentencepiece_keys, TOKENS, lambda tokens: [*tokens[:9], "odd", *tokens[10:]])
    assert "not for all 256 of them" in refusal_of(tmp_path, values)


def test_a_file_without_a_tokenizer_gives_no_files(tmp_path):
    for kind in (None, "none", "no_vocab"):
        assert write_text_files(Keys(tmp_path, {"tokenizer.ggml.model": kind}), 9, tmp_path) == {}
    assert not list(tmp_path.iterdir())


@settings(max_examples=50)
@given(text=st.text(max_size=40))
def test_any_text_comes_back_from_both_kinds(text, tmp_path_factory):
    folder = tmp_path_factory.mktemp("t")
    write(folder, byte_level_keys("deepseek-r1-qwen"))
    write(folder, sentencepiece_keys())
    level = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert level.decode(level.encode(text).ids, skip_special_tokens=False) == text
    model = SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    assert model.decode(model.encode(text)) == text.replace("▁", " ")


def test_the_alphabet_of_bytes_is_that_of_the_tokenizers_package():
    ours, theirs = set(byte_alphabet()), tokenizers.pre_tokenizers.ByteLevel.alphabet()
    assert ours == set(theirs)
