"""tokenizer.json and tekken.json that are torn, foreign or hostile: a name for what is wrong."""

import copy
import json
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pi_cluster.transformer.errors import ModelError, PromptError, UnsupportedTokenizer
from pi_cluster.transformer.text.added_tokens import AddedToken, read_tokens_of_tokenizer_json
from pi_cluster.transformer.text.loading import ForeignTokenizer, load_bpe, load_tekken
from pi_cluster.transformer.text.rust_panic import panics_as_errors
from pi_cluster.transformer.text.text_files import TextFiles
from tests.support.json_values import json_values
from tests.support.small_tokenizers import PARITY, small_tekken

LLAMA = json.loads((PARITY / "tokenizers" / "llama-3.json").read_text(encoding="utf-8"))
LEGACY = json.loads(
    (PARITY / "tokenizers" / "like-sentencepiece-legacy.json").read_text(encoding="utf-8")
)
TEKKEN = small_tekken()
SIZE = 500
TEXT = "The brave fox, 12 + 3 ☺"


def load(values, added=(), special=None):
    return load_bpe(Path("x/tokenizer.json"), values, added, special or {}, SIZE)


def changed(values, *path, to):
    """The values with one of them replaced, where the path of keys leads."""
    values = copy.deepcopy(values)
    place = values
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = to
    return values


@pytest.mark.parametrize(
    ("path", "to", "said"),
    [
        (["model"], None, "has no model"),
        (["model", "vocab"], [], "no vocabulary of at most"),
        (["model", "vocab", "a"], "5", "gives the piece 'a' no id"),
        (["model", "vocab", "a"], -1, "gives the piece 'a' no id"),
        (["model", "vocab", "a"], 7, "two pieces the same id"),
        (["model", "merges"], "a b", "no list of at most"),
        (["model", "merges"], [["nothing", "such"]], "is no sound tokenizer"),
        (["model", "unk_token"], "<unk>", "'<unk>' as its unk_token, which is no piece"),
        (["post_processor"], {"type": "RobertaProcessing", "cls": ["<x>", 1]}, "begins texts with"),
    ],
)
def test_a_torn_file_is_named_with_what_it_lacks(path, to, said):
    with pytest.raises(ModelError, match=rf"x/tokenizer\.json .*{said}") as failure:
        load(changed(LLAMA, *path, to=to))
    assert not isinstance(failure.value, UnsupportedTokenizer)


REPLACED = {"type": "Replace", "pattern": {"String": "a"}, "content": "bbbbbbbb"}


@pytest.mark.parametrize(
    ("path", "to", "said"),
    [
        (["model", "type"], "WordPiece", "'WordPiece'; of such files only BPE"),
        (["model", "end_of_word_suffix"], "</w>", "marks pieces by a end_of_word_suffix"),
        (["decoder"], {"type": "WordPiece"}, r"by a decoder \(WordPiece\)"),
        (["decoder"], {"type": "Replace", "pattern": {"String": "▁"}, "content": "x"}, "a decoder"),
        (["pre_tokenizer"], {"type": "Quantum"}, r"pre_tokenizer \(Quantum\) .* does not take"),
        (["normalizer"], {"type": "Quantum"}, r"normalizer \(Quantum\) .* does not take"),
        (["normalizer"], {"type": "Sequence", "normalizers": [REPLACED] * 3}, "much longer"),
        (["normalizer"], {"type": "Sequence", "normalizers": [REPLACED] * 17}, "more than 16"),
        (["normalizer"], REPLACED | {"pattern": {"Regex": "a" * 20_000}}, "10000 characters"),
        (["model", "vocab"], {"a": 0}, "pieces neither for all bytes"),
    ],
)
def test_a_file_of_a_kind_that_is_not_read_is_named_with_its_part(path, to, said):
    values = changed(LLAMA, *path, to=to)
    if path == ["model", "vocab"]:
        values["model"]["merges"] = []
    with pytest.raises(UnsupportedTokenizer, match=rf"x/tokenizer\.json .*{said}"):
        load(values)


@pytest.mark.parametrize(
    ("path", "to", "said"),
    [
        (["config"], None, "has no config"),
        (["config", "default_vocab_size"], "1100", "'1100' as its default_vocab_size"),
        (["config", "default_vocab_size"], 300, "fewer pieces than its config says"),
        (["config", "default_vocab_size"], 10**7, "as its default_vocab_size"),
        (["config", "default_num_special_tokens"], 5, "20 special_tokens and room for 5"),
        (["config", "pattern"], None, "has no pattern"),
        (["config", "pattern"], "(", "does not know"),
        (["vocab"], {}, "fewer pieces"),
        (["vocab", 300, "token_bytes"], "!", "no sound piece of rank 300"),
        (["vocab", 300, "token_bytes"], "", "no sound piece of rank 300"),
        (["vocab", 300, "rank"], 301, "no sound piece of rank 300"),
        (["vocab", 300, "token_bytes"], "AA==", "a piece twice"),
        (["vocab", 0, "token_bytes"], "AAA=", "a piece for each byte"),
        (["special_tokens"], {}, "no list of special_tokens"),
        (["special_tokens"], [{"rank": 1, "token_str": "<s>"}], "in another order"),
        (["special_tokens"], [{"rank": 0, "token_str": None}], "without a spelling"),
        (["special_tokens"], [{"rank": 0, "token_str": "<SPECIAL_7>"}], "a special token twice"),
    ],
)
def test_a_torn_tekken_is_named_with_what_it_lacks(path, to, said):
    with pytest.raises(ModelError, match=rf"x/tekken\.json .*{said}"):
        load_tekken(Path("x/tekken.json"), changed(TEKKEN, *path, to=to), 2_000)


def test_a_vocabulary_larger_than_the_model_is_refused_with_both_sizes():
    with pytest.raises(ForeignTokenizer, match=r"has 420 pieces and the model only 300"):
        load_bpe(Path("tokenizer.json"), LLAMA, (), {}, 300)
    with pytest.raises(ForeignTokenizer, match=r"has 1100 pieces and the model only 1000"):
        load_tekken(Path("tekken.json"), TEKKEN, 1_000)


def test_an_added_token_that_the_model_has_no_id_for_is_left_out():
    plain = changed(LLAMA, "post_processor", to=None)
    tokenizer = load(plain, [AddedToken(SIZE - 1, "<x>"), AddedToken(SIZE, "<y>")])
    assert dict(tokenizer.control_ids) == {"<x>": SIZE - 1}
    assert SIZE not in tokenizer and tokenizer.piece_to_id("<y>") is None


def test_a_named_token_is_the_templates_alone_though_the_file_does_not_list_it():
    values = changed(LEGACY, "added_tokens", to=[])
    tokenizer = load(values, special={"bos_token": "<s>", "eos_token": "</s>"})
    assert (tokenizer.bos_id, tokenizer.eos_id) == (1, 2)
    assert dict(tokenizer.control_ids) == {"<s>": 1, "</s>": 2}


def test_a_byte_that_no_piece_covers_is_refused_by_its_character():
    values = changed(changed(LLAMA, "model", "merges", to=[]), "post_processor", to=None)
    vocabulary = values["model"]["vocab"]
    values["model"]["vocab"] = {
        p: i for p, i in vocabulary.items() if len(p) == 1 and p != "\u0116"
    }
    with pytest.raises(PromptError, match=r"holds U\+0016, which .* cannot write"):
        load(values).encode("a\x16b")


def test_the_configuration_may_give_a_token_of_the_file_other_flags():
    file = {"added_tokens": [{"id": 7, "content": "<x>", "special": False}]}
    config = {
        "added_tokens_decoder": {
            "9": {"content": "<x>", "special": True, "lstrip": True},
            "8": {"content": "<y>", "special": False},
        },
        "eos_token": "<y>",
    }
    assert read_tokens_of_tokenizer_json(config, {}, file) == [
        AddedToken(7, "<x>", special=True, lstrip=True),
        AddedToken(8, "<y>", special=True),
    ]


def test_a_panic_of_a_library_is_an_error():
    class Panic(BaseException):
        __module__ = "pyo3_runtime"

    with pytest.raises(Exception, match="it gave up"), panics_as_errors():
        raise Panic("it gave up")
    with pytest.raises(KeyboardInterrupt), panics_as_errors():
        raise KeyboardInterrupt


def try_bpe(values):
    """Load and use what may be anything; a named error is all that may come of it."""
    try:
        added = read_tokens_of_tokenizer_json({}, {}, values)
        tokenizer = load(values, added)
        ids = tokenizer.encode(TEXT)
        assert all(tokenizer.piece_bytes(i, continuation=True) is not None for i in ids)
    except ModelError as error:
        assert str(error)


def try_tekken(values):
    try:
        load_tekken(Path("tekken.json"), values, 2_000)[0].encode(TEXT)
    except ModelError as error:
        assert str(error)


@settings(max_examples=300)
@given(path=st.integers(0, 2**32), value=json_values)
def test_any_value_in_any_place_of_a_file_gives_a_tokenizer_or_a_named_error(path, value):
    draw = random.Random(path)
    for values, use in ((LLAMA, try_bpe), (LEGACY, try_bpe), (TEKKEN, try_tekken)):
        key = draw.choice(list(values))
        use({**values, key: with_value_somewhere(values[key], value, draw)})


def with_value_somewhere(values, value, draw):
    """The same with one value changed; what lies beside the way to it is shared."""
    if not isinstance(values, dict | list) or not values or draw.random() < 0.2:
        return value
    keys = list(values) if isinstance(values, dict) else range(len(values))
    key = draw.choice(keys)
    inner = with_value_somewhere(values[key], value, draw)
    if isinstance(values, dict):
        return {**values, key: inner}
    return [*values[:key], inner, *values[key + 1 :]]


@pytest.mark.parametrize("pattern", ["(a+)+$", "(?:.|.)*x", "", "^", "(?<=a)", "\\"])
def test_a_pattern_that_takes_forever_or_matches_nothing_ends(pattern):
    step = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    steps = [step, LLAMA["pre_tokenizer"]["pretokenizers"][1]]
    text = "a" * 40 + "b"
    for tokenize in (
        lambda: load(changed(LLAMA, "pre_tokenizer", "pretokenizers", to=steps)),
        lambda: load_tekken(Path("t"), changed(TEKKEN, "config", "pattern", to=pattern), 2_000)[0],
    ):
        try:
            tokenize().encode(text)
        except ModelError as error:
            assert str(error)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("tokenizer.json", (PARITY / "tokenizers" / "qwen-3.json").read_bytes()),
        ("tokenizer.json", (PARITY / "tokenizers" / "like-sentencepiece.json").read_bytes()),
        ("tekken.json", json.dumps(TEKKEN).encode()),
    ],
)
def test_changed_bytes_and_torn_ends_give_a_tokenizer_or_a_named_error(tmp_path, name, content):
    draw, path = random.Random(7), tmp_path / name
    for _ in range(60):
        spoilt = bytearray(content)
        for _ in range(draw.randint(1, 3)):
            spoilt[draw.randrange(len(spoilt))] = draw.choice(b'"0[]{},:a\\\xff')
        end = len(spoilt) if draw.random() < 0.8 else draw.randrange(len(spoilt))
        path.write_bytes(spoilt[:end])
        try:
            TextFiles({name: path}, 2_000, None).tokenizer.encode(TEXT)
        except ModelError as error:
            assert str(path) in str(error)
