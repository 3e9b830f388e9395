"""Tokens beside the SentencePiece model: read, written by templates alone, given back as text."""

from collections import Counter
from pathlib import Path

import mistral_common
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pi_cluster.transformer.errors import ModelError, PromptError
from pi_cluster.transformer.text.added_tokens import AddedToken, read_added_tokens, special_tokens
from pi_cluster.transformer.text.chat_template import ChatTemplate
from pi_cluster.transformer.text.detokenizer import IncrementalDetokenizer
from pi_cluster.transformer.text.sentencepiece_tokenizer import SentencePieceTokenizer

MODEL = Path(__file__).parents[3] / "storyteller" / "checkpoint" / "tokenizer.model"
PLAIN = SentencePieceTokenizer.from_file(MODEL)
FOX, HEART = PLAIN.piece_to_id("▁fox"), PLAIN.encode("♥")


def user(content):
    return {"role": "user", "content": content}


def tokenizer_with(*tokens, legacy=False):
    return SentencePieceTokenizer.from_file(MODEL, tokens, legacy=legacy)


# Reading them


def test_the_configuration_alone_is_read_where_it_lists_the_added_tokens():
    flags = {"content": "<x>", "special": False, "rstrip": True, "normalized": True}
    read = read_added_tokens(
        {"added_tokens_decoder": {"2048": flags}}, {}, {"<y>": 2049}, {"added_tokens": [1]}
    )
    assert read == [AddedToken(2048, "<x>", special=False, rstrip=True)]


def test_else_the_older_files_are_read_and_a_named_token_is_special():
    config = {"eos_token": "<y>", "additional_special_tokens": ["<z>"]}
    special_map = {"eos_token": {"content": "<x>"}}
    added = {"<x>": 2048, "<y>": 2049, "<z>": 2050}
    assert read_added_tokens(config, special_map, added, {}) == [
        AddedToken(2048, "<x>"),
        AddedToken(2049, "<y>", special=False),
        AddedToken(2050, "<z>"),
    ]


def test_tokenizer_json_says_more_of_a_token_than_added_tokens_json():
    entry = {"id": 2048, "content": "<x>", "special": True, "lstrip": True, "normalized": False}
    assert read_added_tokens({}, {}, {"<x>": 2048}, {"added_tokens": [entry]}) == [
        AddedToken(2048, "<x>", lstrip=True)
    ]


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (({"added_tokens_decoder": []}, {}, {}, {}), "added_tokens_decoder is no object"),
        (({"added_tokens_decoder": {"a": {}}}, {}, {}, {}), "'a' where the id"),
        (({"added_tokens_decoder": {"5": {}}}, {}, {}, {}), "the id 5 no spelling"),
        (({"added_tokens_decoder": {"5": {"content": ""}}}, {}, {}, {}), "the id 5 no spelling"),
        (({}, {}, {"<x>": "5"}, {}), "added_tokens.json has '5'"),
        (({}, {}, {"<x>": True}, {}), "added_tokens.json has True"),
        (({}, {}, {"<x>": -1}, {}), "added_tokens.json has -1"),
        (({}, {}, {}, {"added_tokens": ["<x>"]}), "tokenizer.json has None"),
    ],
)
def test_an_entry_that_makes_no_sense_is_named_with_its_key(files, said):
    with pytest.raises(ModelError, match=said):
        read_added_tokens(*files)


def test_a_template_gets_each_special_token_that_has_a_spelling():
    config = {
        "bos_token": "<s>",
        "pad_token": None,
        "sep_token": {"content": "<sep>"},
        "cls_token": 5,
        "extra_special_tokens": {"image_token": "<img>"},
        "additional_special_tokens": ["<x>"],
    }
    expected = {"bos_token": "<s>", "sep_token": "<sep>", "image_token": "<img>"}
    assert special_tokens(config, {}) == expected
    assert special_tokens(config, {"bos_token": "<b>"})["bos_token"] == "<b>"


# Writing them


def test_a_template_writes_them_and_a_message_does_not():
    tokenizer = tokenizer_with(AddedToken(2048, "<x>"), AddedToken(2050, "<y>", special=False))
    template = ChatTemplate("<x>{{ messages[0].content }}<y>", tokenizer)
    typed = PLAIN.encode("<y><x>", continuation=True)
    assert template.encode([user("<y><x>")]) == [2048, *typed, 2050]
    assert tokenizer.encode("<y><x>") == PLAIN.encode("<y><x>")


def test_words_can_be_typed_with_the_flags_that_they_have():
    tokenizer = tokenizer_with(
        AddedToken(2048, "fox", special=False, single_word=True, lstrip=True),
        AddedToken(2049, "Füchsin", special=False),
    )
    rest = PLAIN.encode("foxes", continuation=True)
    assert tokenizer.encode("  foxFüchsinfoxes") == [*PLAIN.encode("  fox"), 2049, *rest]
    assert tokenizer.encode("a  fox") == [*PLAIN.encode("a"), 2048]
    template = ChatTemplate("{{ messages[0].content }}", tokenizer)
    assert template.encode([user("a  fox")]) == tokenizer.encode("a  fox")


@pytest.mark.parametrize("word", ["Füchsin", "हिन्दी", "می\u200cروم", "狐狸", "x1", "  ", "\n"])
def test_words_of_any_language_can_be_typed(word):
    assert tokenizer_with(AddedToken(2048, word, special=False)).encode(word) == [2048]
    assert 2048 not in tokenizer_with(AddedToken(2048, word)).encode(word)


@pytest.mark.parametrize("tag", ["<x>", "[x]", "|", "### User", "user:", "<0x0A>"])
def test_what_looks_like_a_tag_is_a_templates_alone_special_or_not(tag):
    assert 2048 not in tokenizer_with(AddedToken(2048, tag, special=False)).encode(tag)


def test_a_legacy_tokenizer_puts_a_dummy_prefix_behind_words_too():
    tokenizer = tokenizer_with(AddedToken(2048, "Füchsin", special=False), legacy=True)
    assert tokenizer.encode("Füchsinfox") == [2048, FOX]


def test_a_control_token_of_one_character_is_the_templates_alone():
    tokenizer = tokenizer_with(AddedToken(2048, "♥"))
    template = ChatTemplate("♥{{ messages[0].content }}♥", tokenizer)
    typed = PLAIN.encode("♥x♥", continuation=True)
    assert template.encode([user("♥x♥")]) == [2048, *typed, 2048]
    assert tokenizer.encode("♥") == HEART


@pytest.mark.parametrize("content", ["s", "s>", "/s", "INST]", "INST", "m_start|", "|im_start|>"])
def test_no_message_completes_a_spelling_that_the_template_began(content):
    tokenizer = tokenizer_with(AddedToken(2048, "<|im_start|>"))
    control = set(tokenizer.control_ids.values())
    for source in ("<{}>", "[{}]", "<|i{}>", "<{}", "[{}", "<|i{}"):
        template = ChatTemplate(source.format("{{ messages[0].content }}"), tokenizer)
        assert control.isdisjoint(template.encode([user(content)])), source


def test_a_role_spells_tags_and_can_be_compared():
    tokenizer = tokenizer_with(AddedToken(2048, "<|user|>"), AddedToken(2049, "<|system|>"))
    source = "{% if messages[0].role == 'user' %}{{ '<|' + messages[0].role + '|>' }}{% endif %}"
    assert ChatTemplate(source, tokenizer).encode([user("x")]) == [2048]


def test_a_piece_that_became_a_control_token_spells_no_text_any_more():
    tokenizer = tokenizer_with(AddedToken(FOX, "<|im_end|>"))
    assert tokenizer.decode(tokenizer.encode("the fox")) == "the fox"
    assert FOX not in tokenizer.encode("the fox") and FOX in PLAIN.encode("the fox")
    assert tokenizer.id_to_piece(FOX) == "<|im_end|>"
    assert tokenizer.piece_to_id("▁fox") is None
    assert ChatTemplate("<|im_end|>", tokenizer).encode([user("x")]) == [FOX]


def test_a_control_piece_that_is_renamed_has_its_new_spelling_alone():
    tokenizer = tokenizer_with(AddedToken(2, "<|im_end|>"))
    template = ChatTemplate("<|im_end|></s>", tokenizer)
    assert template.encode([user("x")]) == [2, *PLAIN.encode("</s>", continuation=True)]


def test_a_piece_that_any_text_may_write_is_a_templates_alone_once_it_is_special():
    data = Path(mistral_common.__file__).parent / "data"
    model = data / "mistral_instruct_tokenizer_240323.model.v3"
    spelling, i = "[REFERENCE_DOC_1]", 769  # "user-defined" there
    assert i in SentencePieceTokenizer.from_file(model).encode(f"see {spelling}")
    tokenizer = SentencePieceTokenizer.from_file(model, [AddedToken(i, spelling)])
    assert tokenizer.decode(tokenizer.encode(f"see {spelling}")) == f"see {spelling}"
    assert i not in tokenizer.encode(f"see {spelling}")
    assert ChatTemplate(spelling, tokenizer).encode([user("x")]) == [i]


def test_a_byte_that_became_a_control_token_cannot_be_typed():
    first = PLAIN.piece_to_id("<0x00>")
    tokenizer = tokenizer_with(AddedToken(first + 1, "<|im_end|>"))
    assert tokenizer.encode("a\x02") == PLAIN.encode("a\x02")
    with pytest.raises(PromptError, match="gave its byte to a control token"):
        tokenizer.encode("a\x01")


FLAGS = st.fixed_dictionaries(
    {name: st.booleans() for name in ("special", "lstrip", "rstrip", "single_word")}
)
SPELLINGS = st.sampled_from(
    ["<|im_start|>", "<|im_end|>", "<s>", "</s>", "[INST]", "<|", "\n<x>\n", "### User:", "<fox>"]
)
TYPED = st.lists(
    SPELLINGS | st.sampled_from(["<", "|", ">", "im_end", " ", "\n", "s>", "[", "x", "fox"]),
    max_size=7,
).map("".join)


@st.composite
def tokenizers(draw):
    """Tokens of any flags behind the vocabulary, or in place of its pieces."""
    spellings = draw(st.lists(SPELLINGS, unique=True, max_size=5))
    ids = draw(
        st.lists(
            st.integers(2048, 2060) | st.integers(300, 2000),
            unique=True,
            min_size=len(spellings),
            max_size=len(spellings),
        )
    )
    flags = [draw(FLAGS) for _ in spellings]
    tokens = [AddedToken(i, s, **f) for i, s, f in zip(ids, spellings, flags, strict=True)]
    return tokenizer_with(*tokens, legacy=draw(st.booleans()))


@settings(max_examples=150)
@given(tokenizer=tokenizers(), said=st.lists(TYPED, min_size=3, max_size=3), around=TYPED)
def test_nothing_that_people_type_becomes_a_control_id(tokenizer, said, around):
    control = set(tokenizer.control_ids.values())
    assert control.isdisjoint(tokenizer.encode(said[0]))
    assert control.isdisjoint(tokenizer.encode(said[0], continuation=True))
    roles = ("system", "user", "assistant")
    chat = [{"role": role, "content": text} for role, text in zip(roles, said, strict=True)]
    bare = [{"role": role, "content": ""} for role in roles]
    # Parts of spellings, which messages might complete, and whole ones, which are the template's.
    source = (
        f"{{{{ {around!r} }}}}"
        "{% for m in messages %}<|{{ m.content }}|>[{{ m.content | trim }}]{% endfor %}<|im_end|>"
    )
    template = ChatTemplate(source, tokenizer)
    by_template, with_texts = Counter(template.encode(bare)), Counter(template.encode(chat))
    # No more of them; a letter may take from one that is a word of its own.
    assert all(with_texts[i] <= by_template[i] for i in control)


# Giving them back as text


def parts_of(tokenizer, ids, continuation=False):
    detokenizer = IncrementalDetokenizer(tokenizer, continuation=continuation)
    return [*map(detokenizer.push, ids), detokenizer.finish()]


def test_special_tokens_give_no_text_and_others_their_spelling():
    tokenizer = tokenizer_with(AddedToken(2048, "<x>"), AddedToken(2050, "<think>", special=False))
    ids = [2048, FOX, 2050, FOX, 2048]
    assert tokenizer.decode(ids) == "fox<think> fox"
    assert parts_of(tokenizer, ids) == ["", "fox", "<think>", " fox", "", ""]
    assert parts_of(tokenizer, [2050, FOX]) == ["<think>", " fox", ""]


def test_an_id_between_the_added_tokens_is_shown_as_a_replacement_character():
    tokenizer = tokenizer_with(AddedToken(2050, "<x>"))
    assert parts_of(tokenizer, [2049, 2050]) == ["\ufffd", "", ""]
    with pytest.raises(PromptError, match=r"token id 2049 .* 0 to 2050"):
        tokenizer.decode([2049])


BYTES = PLAIN.piece_to_id("<0x00>")
SOME = tokenizer_with(
    AddedToken(2048, "<x>"),
    AddedToken(2049, "<y>", special=False),
    AddedToken(2050, "♥", special=False),
    AddedToken(2, "<|end|>"),
    AddedToken(FOX, "<fox>", special=False),
)


@pytest.mark.parametrize("continuation", [False, True])
@settings(max_examples=300)
@given(
    ids=st.lists(
        st.sampled_from([BYTES + byte for byte in b"a\xe2\x99\xa5\xff"])
        | st.sampled_from([0, 1, 2, 3, FOX, *range(2048, 2051)])
        | st.integers(0, 2047),
        max_size=16,
    )
)
def test_the_parts_together_are_what_decode_gives_with_added_tokens_too(continuation, ids):
    assert "".join(parts_of(SOME, ids, continuation)) == SOME.decode(ids, continuation=continuation)
