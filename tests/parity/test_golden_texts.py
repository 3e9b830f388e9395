"""Texts and chats of every family with a tokenizer.json, against what transformers made of them."""

import pytest

from pi_cluster.transformer.text.detokenizer import IncrementalDetokenizer
from tests.support.small_tokenizers import FAMILIES, family_files, goldens

GOLDEN = goldens()
TOKENIZERS = GOLDEN["tokenizers"]


@pytest.fixture(params=FAMILIES)
def family(request, tmp_path):
    golden = TOKENIZERS[request.param]
    return golden, family_files(tmp_path, request.param, golden)


def test_every_family_has_its_file():
    assert sorted(TOKENIZERS) == FAMILIES


def test_texts_of_any_unicode_have_the_same_ids(family):
    golden, files = family
    assert [files.tokenizer.encode(text) for text in GOLDEN["texts"]] == golden["ids"]


def test_a_text_begins_as_it_does_in_transformers(family):
    golden, files = family
    opening = files.tokenizer.opening_ids
    assert [*opening, *files.tokenizer.encode("fox")] == golden["beginning"]


def test_chats_have_the_same_ids(family):
    golden, files = family
    assert [files.template.encode(chat) for chat in GOLDEN["chats"]] == golden["chats"]


def test_ids_come_back_in_parts_as_the_text_that_transformers_decodes(family):
    golden, files = family
    for ids, text in zip(golden["ids"], golden["decoded"], strict=True):
        # Of an added token that is no special one its library writes the spelling, and we too.
        detokenizer = IncrementalDetokenizer(files.tokenizer)
        parts = [*map(detokenizer.push, ids), detokenizer.finish()]
        assert "".join(parts) == text


def test_a_template_with_a_switch_is_told_not_to_think(tmp_path):
    golden = TOKENIZERS["qwen-3"]
    template = family_files(tmp_path, "qwen-3", golden).template
    assert template.encode(GOLDEN["chats"][0], think=False) == golden["not thinking"]
    assert template.encode(GOLDEN["chats"][0], think=True) == golden["chats"][0]
