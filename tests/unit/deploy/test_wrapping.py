"""Text that is broken between words, in whatever pieces it comes."""

import re
from itertools import pairwise

from hypothesis import assume, example, given
from hypothesis import strategies as st
from rich.cells import cell_len

from pi_cluster.deploy.screen.wrapping import WordWrap, wrapped

LONG_WORD = 30

words = st.text("aeﬁé\u0301字漢かー。😀👩\u200d👩\ufe0f,.-(`~", min_size=1, max_size=12)
texts = st.lists(st.one_of(words, st.sampled_from([" ", "  ", "\n", "\t", "    ", "```"]))).map(
    "".join
)
cuts = st.lists(st.integers(0, 200))


def in_pieces(text, cut_at, width):
    """What a screen of so many columns is sent for a text that is cut there."""
    wrap = WordWrap(lambda: width)
    ends = sorted({min(at, len(text)) for at in cut_at} | {0, len(text)})
    pieces = [text[a:b] for a, b in pairwise(ends)]
    return [wrap.push(piece) for piece in [*pieces, "\n"]]


def without_spaces(text):
    return re.sub(r"[ \t\n]", "", text)


@given(texts, cuts, st.integers(4, 60))
@example("a" * 60 + " b", [30], 20)
def test_nothing_is_lost_and_every_break_of_the_text_is_there(text, cut_at, width):
    shown = "".join(in_pieces(text, cut_at, width))
    assert without_spaces(shown) == without_spaces(text)
    position = 0
    for line in text.split("\n"):  # each ends where it did, whatever breaks came into it
        for letter in without_spaces(line):
            position = shown.index(letter, position) + 1
        position = shown.index("\n", position) + 1
    assert shown[position:] == ""


@given(
    st.lists(st.text("abcdefgh.", min_size=1, max_size=LONG_WORD), min_size=1),
    cuts,
    st.integers(30, 90),
)
def test_no_word_is_torn_and_no_line_is_wider_than_the_screen(said, cut_at, width):
    text = " ".join(said)
    shown = "".join(in_pieces(text, cut_at, width))
    lines = shown.removesuffix("\n").split("\n")
    assert " ".join(lines) == text
    assert all(len(line) <= width for line in lines)


@given(st.text("字漢かな。、（）ーっ", min_size=1), cuts, st.integers(8, 40))
def test_a_script_without_spaces_is_broken_at_its_letters(text, cut_at, width):
    lines = "".join(in_pieces(text, cut_at, width)).removesuffix("\n").split("\n")
    assert "".join(lines) == text
    assume(not re.search("[。、）（ーっ]{2}", text))
    assert all(cell_len(line) <= width for line in lines)
    assert not any(line.startswith(("。", "、", "）", "ー", "っ")) for line in lines[1:])


def test_a_word_comes_at_once_where_there_is_room_and_is_held_where_it_may_have_to_move():
    wrap = WordWrap(lambda: 40)
    assert wrap.push("Hel") == "Hel"
    assert wrap.push("lo") == "lo"
    assert wrap.push(" wor") == " wor"  # as many columns as a long word has are left
    assert wrap.push("ld, this") == "ld,"
    assert wrap.push(" is") == " this"
    assert wrap.push(" unbelie") == " is"
    assert wrap.push("vably-incompre") == "\nunbelievably-incompre"  # too long by now
    assert wrap.push("hensible.") == "hensible."


def test_a_line_break_writes_all_and_spaces_without_room_are_left_out():
    wrap = WordWrap(lambda: 10)
    assert wrap.push("123456 789") == "123456"
    assert wrap.push("  \n") == " 789\n"
    assert wrap.push("12345 ") == "12345"
    assert wrap.push("\n") == " \n"


def test_code_is_left_as_it_is():
    code = "    if a_long_condition and another: return 1\n"
    fenced = "```python\nif a_long_condition and another: return 1\n```\n"
    tilde = "~~~\nif a_long_condition ``` and another: return 1\n~~~\n"
    tab = "\tif a_long_condition and another: return 1\n"
    for text in (code, fenced, tilde, tab):
        for size in (1, 3, 100):
            wrap = WordWrap(lambda: 20)
            assert "".join(wrap.push(text[i : i + size]) for i in range(0, len(text), size)) == text
            assert wrap.push("and after it 12345678\n") == "and after it\n12345678\n"


def test_wide_letters_marks_tabs_and_joined_signs_take_the_room_that_they_take():
    assert wrapped("e\u0301" * 5 + " " + "x" * 4, 10) == ["e\u0301" * 5 + " xxxx"]
    assert wrapped("가나다라 마바", 10) == ["가나다라", "마바"]
    assert wrapped("a\tb c", 10) == ["a\tb", "c"]
    family = "👩\u200d👩\u200d👧"
    assert family in wrapped(f"1234567 {family}", 9)


def test_another_width_of_the_screen_counts_from_the_next_word_on():
    width = 40
    wrap = WordWrap(lambda: width)
    assert wrap.push("one two three ") == "one two three"
    width = 15
    assert wrap.push("four ") == "\nfour"
    width = 40
    assert wrap.push("five ") == " five"


def test_a_word_without_end_is_shown_and_not_kept():
    wrap = WordWrap(lambda: 40)
    shown = [wrap.push("x") for _ in range(100_000)]
    assert "".join(shown) == "x" * 100_000
    marks = [wrap.push("\u0301") for _ in range(10_000)]
    assert "".join([*marks, wrap.push("\n")]) == "\u0301" * 10_000 + "\n"


@given(texts, st.integers(4, 60))
def test_whole_lines_are_never_wider_than_the_width(text, width):
    assert all(cell_len(line) <= width for line in wrapped(text.replace("\t", " "), width))
