"""Text from ids one by one: never half a character, and together what `decode` gives."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pi_cluster.transformer.text.detokenizer import IncrementalDetokenizer
from pi_cluster.transformer.text.sentencepiece_tokenizer import SentencePieceTokenizer

PATH = Path(__file__).parents[3] / "storyteller" / "checkpoint" / "tokenizer.model"
TOKENIZER = SentencePieceTokenizer.from_file(PATH)
FIRST_BYTE = TOKENIZER.piece_to_id("<0x00>")
SPACE = TOKENIZER.piece_to_id("▁")

# Byte pieces of whole and torn characters, control pieces, <unk>, spaces and ordinary pieces.
ids_of_any_kind = st.lists(
    st.sampled_from([FIRST_BYTE + byte for byte in b"a\xe2\x98\xba\xf0\x9f\xa6\xc0\xed\xa0\xff"])
    | st.sampled_from([0, 1, 2, 3, 4, SPACE])
    | st.integers(0, TOKENIZER.vocab_size - 1),
    max_size=24,
)


def parts_of(ids: list[int], continuation: bool = False) -> list[str]:
    detokenizer = IncrementalDetokenizer(TOKENIZER, continuation=continuation)
    return [*map(detokenizer.push, ids), detokenizer.finish()]


@pytest.mark.parametrize("continuation", [False, True])
@settings(max_examples=400)
@given(ids=ids_of_any_kind)
def test_the_parts_together_are_what_decode_gives(continuation, ids):
    expected = TOKENIZER.decode(ids, continuation=continuation)
    assert "".join(parts_of(ids, continuation)) == expected


@settings(max_examples=200)
@given(text=st.text(max_size=20).filter(lambda text: "\ufffd" not in text and "▁" not in text))
def test_no_part_of_a_valid_text_holds_a_broken_character(text):
    parts = parts_of(TOKENIZER.encode(text))
    assert "\ufffd" not in "".join(parts)
    assert "".join(parts) == text
    assert parts[-1] == ""


def test_a_character_in_bytes_comes_whole_with_its_last_byte():
    ids = [FIRST_BYTE + byte for byte in "☺".encode()]
    assert parts_of(ids) == ["", "", "☺", ""]


def test_a_character_that_never_ends_becomes_one_replacement_for_each_byte():
    ids = [FIRST_BYTE + byte for byte in "☺".encode()[:2]]
    assert parts_of(ids) == ["", "", "\ufffd\ufffd"]
    assert parts_of([*ids, SPACE]) == ["", "", "\ufffd\ufffd ", ""]


def test_an_answer_drops_its_first_space_and_a_continuation_keeps_it():
    ids = TOKENIZER.encode("the fox")
    assert "".join(parts_of(ids)) == "the fox"
    assert "".join(parts_of(ids, continuation=True)) == " the fox"


def test_only_one_space_is_dropped_also_behind_control_pieces():
    assert "".join(parts_of([1, SPACE, 3, SPACE, SPACE])) == "  "


def test_control_pieces_give_nothing():
    assert parts_of([1, 2, 3, 4]) == [""] * 5


def test_an_id_without_a_piece_is_shown_as_a_replacement_character():
    detokenizer = IncrementalDetokenizer(TOKENIZER)
    assert detokenizer.push(2048) == "\ufffd"
