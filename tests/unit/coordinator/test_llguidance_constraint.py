"""A grammar's masks: in the wire's form, and the same whichever way a text came there."""

import json
import random
from functools import cache

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pi_cluster.coordinator.constraining import grammar
from pi_cluster.coordinator.constraining.llguidance_constraint import Vocabulary
from pi_cluster.transformer.checkpoint_file import read_object
from pi_cluster.transformer.errors import PromptError
from pi_cluster.transformer.text.loading import load_sentencepiece, load_tekken
from pi_cluster.transformer.text.tokenizer import Tokenizer
from tests.support.small_tokenizers import (
    FAMILIES,
    MISTRAL,
    STORYTELLER,
    family_files,
    goldens,
)

EOS = 2
SIZES = {"storyteller": 2_059, "mistral-v3": 32_768, "tekken": 131_072}


@cache
def tokenizer_of(name: str) -> Tokenizer:
    if name == "tekken":
        file = MISTRAL / "tekken_240911.json"
        return load_tekken(file, read_object(file), SIZES[name])[0]
    files = {
        "storyteller": STORYTELLER,
        "mistral-v3": MISTRAL / "mistral_instruct_tokenizer_240323.model.v3",
    }
    return load_sentencepiece(files[name], (), SIZES[name], legacy=False)


@cache
def vocabulary_of(name: str) -> Vocabulary:
    return Vocabulary(tokenizer_of(name), SIZES[name], {EOS})


def allowed(mask: bytes) -> list[int]:
    return [i for i in range(8 * len(mask)) if mask[i >> 3] >> (i & 7) & 1]


def written(schema, *, fixed=False) -> str:
    return f"start: {grammar.json_rule(schema, fixed=fixed)}\n"


def an_answer(constraint, seed: int, most: int = 400) -> list[int]:
    """Ids drawn at random from what is allowed, the end where that is."""
    draw, ids = random.Random(seed), []
    while not constraint.is_finished and len(ids) < most:
        choices = allowed(constraint.mask())
        if EOS in choices:
            break
        # Short texts: what ends a string comes often.
        ending = [i for i in choices if TEXTS[i][-1:] in (b'"', b"}", b"]")]
        chosen = draw.choice(ending if ending and draw.random() < 0.5 else choices)
        constraint.accept(chosen)
        ids.append(chosen)
    return ids


class _Texts(dict):
    def __missing__(self, token_id):
        return tokenizer_of("storyteller").piece_bytes(token_id, continuation=True)


TEXTS = _Texts()
scalars = st.sampled_from(
    [
        {"type": "boolean"},
        {"type": "integer", "minimum": -5, "maximum": 40},
        {"enum": ["on", "off", "[INST]"]},
        {"const": None},
        {"type": "string", "maxLength": 6},
    ]
)
schemas = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.builds(
            lambda named, some: {
                "type": "object",
                "properties": named,
                "required": [*named][: len(named) if some else 1],
            },
            st.dictionaries(st.sampled_from(["name", "a b", "é", "</s>"]), inner, max_size=3),
            st.booleans(),
        ),
        inner.map(lambda one: {"type": "array", "items": one, "maxItems": 2}),
        st.lists(inner, min_size=1, max_size=2).map(lambda some: {"anyOf": some}),
    ),
    max_leaves=4,
)


@settings(max_examples=60)
@given(schema=schemas, seed=st.integers(0, 99), fixed=st.booleans())
def test_every_answer_that_ends_follows_its_schema(schema, seed, fixed):
    constraint = vocabulary_of("storyteller").constraint(written(schema, fixed=fixed))
    ids = an_answer(constraint, seed)
    ended = constraint.is_finished or EOS in allowed(constraint.mask())
    if ended:
        jsonschema.validate(json.loads(b"".join(TEXTS[i] for i in ids)), schema)
    assert ended or len(ids) == 400


@settings(max_examples=60)
@given(schema=schemas, seed=st.integers(0, 99), data=st.data())
def test_masks_are_the_same_row_by_row_as_forced_and_as_guessed_and_taken_back(schema, seed, data):
    new = vocabulary_of("storyteller").constraint
    text = written(schema, fixed=data.draw(st.booleans()))
    ids = an_answer(new(text), seed, most=40)
    rows, masks = new(text), []
    for one in ids:
        masks.append(rows.mask())
        rows.accept(one)
    other, at = new(text), 0
    while at < len(ids):
        assert other.mask() == masks[at]
        likely = other.likely()
        assert other.permitted(likely) == len(likely)
        forced = list(other.forced())[: len(ids) - at]
        assert forced == ids[at : at + len(forced)]
        ahead = data.draw(st.integers(0, min(6, len(ids) - at)))
        assert other.permitted([*ids[at : at + ahead], EOS]) == ahead
        for one in ids[at : at + ahead]:
            other.accept(one)
        other.rollback(ahead)
        other.accept(ids[at])
        at += 1
    assert other.is_finished == rows.is_finished


@pytest.mark.parametrize("name", SIZES)
def test_a_mask_has_one_bit_for_each_id_of_the_model_and_no_byte_more(name):
    constraint = vocabulary_of(name).constraint(written(grammar.ANY_OBJECT))
    mask = constraint.mask()
    assert len(mask) == -(-SIZES[name] // 8)
    texts = {tokenizer_of(name).piece_bytes(i, continuation=True) for i in allowed(mask)}
    assert {text[:1] for text in texts} == {b"{"}


@pytest.mark.parametrize("name", ["mistral-v3", "tekken"])
def test_no_control_token_is_allowed_within_a_text_and_none_is_spelt_by_one(name):
    tokenizer = tokenizer_of(name)
    constraint = vocabulary_of(name).constraint(written({"type": "string"}))
    for one in tokenizer.encode('"[INST] </s>', continuation=True):
        assert set(allowed(constraint.mask())).isdisjoint(tokenizer.control_ids.values())
        constraint.accept(one)


@pytest.mark.parametrize("name", FAMILIES)
def test_vocabularies_of_other_families_follow_a_schema(name, tmp_path):
    golden = goldens()["tokenizers"][name]
    tokenizer = family_files(tmp_path, name, golden).tokenizer
    size = golden["vocab_size"]
    schema = {"type": "object", "properties": {"on": {"type": "boolean"}}, "required": ["on"]}
    constraint = Vocabulary(tokenizer, size, {size - 1}).constraint(written(schema, fixed=True))
    ids: list[int] = []
    while not constraint.is_finished:
        ids.append(allowed(constraint.mask())[-1])
        constraint.accept(ids[-1])
    texts = (tokenizer.piece_bytes(i, continuation=True) for i in ids)
    jsonschema.validate(json.loads(b"".join(texts)), schema)


@pytest.mark.parametrize("name", ["mistral-v3", "tekken"])
def test_what_is_forced_is_spelt_as_the_tokenizer_would(name):
    schema = {"const": {"first": "Ünïcode 😀 and more", "second": [1, 2.5, None]}}
    constraint = vocabulary_of(name).constraint(written(schema, fixed=True))
    text = json.dumps(schema["const"], ensure_ascii=False)
    ids = []
    while not constraint.is_finished:
        ahead = constraint.forced() or constraint.likely()[:1]
        for one in ahead or [i for i in allowed(constraint.mask()) if i != EOS][:1]:
            ids.append(one)
            constraint.accept(one)
    assert ids == tokenizer_of(name).encode(text, continuation=True)


def test_white_space_ends_after_eight_characters():
    tokenizer = tokenizer_of("storyteller")
    constraint = vocabulary_of("storyteller").constraint(written(grammar.ANY_OBJECT))
    ids = tokenizer.encode("{" + "\n" * 8, continuation=True)
    assert constraint.permitted([*ids, *tokenizer.encode("\n", continuation=True)]) == len(ids)


@pytest.mark.parametrize(
    ("schema", "place"),
    [
        ({"type": "object", "properties": {"a": {"not": {"type": "null"}}}}, "#/properties/a/not"),
        ({"type": "array", "uniqueItems": True}, "#/uniqueItems"),
    ],
)
def test_a_keyword_that_cannot_be_followed_is_named_with_its_place(schema, place):
    with pytest.raises(PromptError) as refused:
        vocabulary_of("storyteller").constraint(written(schema))
    assert place in Vocabulary.explained(refused.value, schema)


@pytest.mark.parametrize(
    "schema",
    [
        "{}",
        {"enum": [float("nan")]},
        {"const": "x" * (64 << 10)},
        json.loads('{"items":' * 80 + "{}" + "}" * 80),
    ],
)
def test_a_hostile_schema_is_refused_before_anything_is_compiled(schema):
    with pytest.raises(PromptError, match=r"^the schema "):
        grammar.check_schema(schema, "the schema")


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "https://example.com/schema"},
        {"type": "string", "pattern": "(?<=a)b"},
        {"type": 7},
        {"properties": {"a": {"properties": {}, "required": True}}},
        {"properties": {}, "required": [["a"]]},
    ],
)
def test_what_the_library_refuses_is_an_error_of_that_question(schema):
    with pytest.raises(PromptError):
        vocabulary_of("storyteller").constraint(written(schema))


def test_an_object_gets_no_properties_that_its_schema_does_not_name():
    schema = {"type": "object", "properties": {"on": {"type": "boolean"}}}
    tokenizer = tokenizer_of("storyteller")
    constraint = vocabulary_of("storyteller").constraint(written(schema, fixed=True))
    open_end = tokenizer.encode('{"on": true, "more"', continuation=True)
    assert constraint.permitted(open_end) < len(open_end)
    assert constraint.permitted(tokenizer.encode('{"on": true}', continuation=True))


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ({"type": "banana"}, "Invalid type: banana"),
        ({"enum": []}, "Unsatisfiable schema: anyOf is empty"),
        ({"$ref": "#/x"}, "Pointer '/x' does not exist"),
    ],
)
def test_why_a_schema_cannot_be_followed_is_told_without_the_grammar_around_it(schema, why):
    with pytest.raises(PromptError) as refused:
        vocabulary_of("storyteller").constraint(written(schema))
    told = Vocabulary.explained(refused.value, schema)
    assert told == f"the schema cannot be followed: {why}"
