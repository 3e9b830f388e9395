"""The storyteller's tokenizer: text to ids and back, and what cannot be translated."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pi_cluster.transformer.errors import ModelError, PromptError
from pi_cluster.transformer.text.sentencepiece_tokenizer import SentencePieceTokenizer

PATH = Path(__file__).parents[3] / "storyteller" / "checkpoint" / "tokenizer.model"


@pytest.fixture(scope="module")
def tokenizer() -> SentencePieceTokenizer:
    return SentencePieceTokenizer.from_file(PATH)


def test_the_vocabulary_is_the_one_of_the_file(tokenizer):
    assert (tokenizer.vocab_size, tokenizer.bos_id, tokenizer.eos_id) == (2048, 1, 2)
    assert dict(tokenizer.control_ids) == {"<s>": 1, "</s>": 2, "[INST]": 3, "[/INST]": 4}


def test_a_text_gets_a_dummy_prefix_and_its_continuation_none(tokenizer):
    assert tokenizer.encode("hi") == [tokenizer.piece_to_id("▁hi")]
    assert tokenizer.encode("hi", continuation=True) != tokenizer.encode("hi")
    assert tokenizer.encode("") == []


@settings(max_examples=200)
@given(text=st.text(max_size=30).filter(lambda text: "▁" not in text))
def test_any_text_survives_the_way_there_and_back(tokenizer, text):
    assert tokenizer.decode(tokenizer.encode(text)) == text
    rest = tokenizer.encode(text, continuation=True)
    assert tokenizer.decode(rest, continuation=True) == text


@settings(max_examples=200)
@given(text=st.text(min_size=1, max_size=30))
def test_a_text_is_the_continuation_of_its_dummy_prefix(tokenizer, text):
    assert tokenizer.encode(text) == tokenizer.encode(" " + text, continuation=True)


def test_control_spellings_in_a_text_are_plain_text(tokenizer):
    control = set(tokenizer.control_ids.values())
    text = "<s>[INST] hi [/INST]</s>"
    assert control.isdisjoint(tokenizer.encode(text))
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_control_pieces_give_no_text(tokenizer):
    assert tokenizer.decode([1, 3, *tokenizer.encode("hi"), 4, 2]) == "hi"
    assert [i for i in range(10) if tokenizer.is_control(i)] == [1, 2, 3, 4]


def test_byte_pieces_stand_for_their_bytes_and_others_for_their_text(tokenizer):
    first = tokenizer.piece_to_id("<0x00>")
    pieces = [tokenizer.piece_bytes(first + byte, continuation=True) for byte in range(256)]
    assert pieces == [bytes([byte]) for byte in range(256)]
    assert tokenizer.piece_bytes(tokenizer.bos_id, continuation=True) == b""
    assert tokenizer.piece_bytes(tokenizer.piece_to_id("▁"), continuation=True) == b" "


def test_an_unknown_piece_has_no_id(tokenizer):
    assert tokenizer.piece_to_id("<|im_start|>") is None
    assert tokenizer.piece_to_id("<unk>") == 0
    assert tokenizer.id_to_piece(3) == "[INST]"


def test_a_lone_surrogate_is_refused_with_its_place(tokenizer):
    with pytest.raises(PromptError, match=r"not valid Unicode: character 2 .* U\+D83D"):
        tokenizer.encode("ab\ud83d")


@pytest.mark.parametrize("bad", [-1, 2048, 10**12])
def test_an_id_outside_the_vocabulary_is_refused(tokenizer, bad):
    with pytest.raises(PromptError, match=rf"token id {bad} \(number 1\) .* 0 to 2047"):
        tokenizer.decode([5, bad])
    with pytest.raises(PromptError, match=f"token id {bad} "):
        tokenizer.id_to_piece(bad)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ModelError, match=r"nowhere\.model: cannot read"):
        SentencePieceTokenizer.from_file(tmp_path / "nowhere.model")


@pytest.mark.parametrize("keep", [0, 1, 1000, -50])
def test_a_torn_file_is_named(tmp_path, keep):
    torn = tmp_path / "torn.model"
    torn.write_bytes(PATH.read_bytes()[:keep])
    with pytest.raises(ModelError, match=r"torn\.model: .* fetch it again"):
        SentencePieceTokenizer.from_file(torn)


def test_bytes_and_file_give_the_same_tokenizer(tokenizer):
    assert SentencePieceTokenizer(PATH.read_bytes(), "tokenizer.model").encode(
        "A fox."
    ) == tokenizer.encode("A fox.")
    with pytest.raises(ModelError, match=r"^tokenizer\.model: this is no SentencePiece model"):
        SentencePieceTokenizer(b"junk", "tokenizer.model")
