"""What strangers tell, on its way to a terminal or a log."""

import json
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pi_cluster.cluster.shown import shown_line, shown_text
from tests.support.hostile import steering

HARMLESS_FORMATTING = {
    *"\xad\u200b\u200c\u200d\u2060",  # where words may break, and emoji are joined
    # Signs that are seen, of Arabic, Syriac, Kaithi and Egyptian.
    *map(chr, (*range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD)),
    *map(chr, range(0x13430, 0x13460)),
}


def test_of_all_characters_those_that_steer_are_written_out_and_no_others():
    for letter in map(chr, range(sys.maxunicode + 1)):
        steers = unicodedata.category(letter) in ("Cc", "Cf", "Cs", "Zl", "Zp")
        if steers and letter not in HARMLESS_FORMATTING:
            assert shown_line(letter).isascii() and shown_line(letter).startswith("\\u"), letter
        elif unicodedata.category(letter) != "Cn":
            assert shown_line(letter) == shown_text(letter) == letter


@pytest.mark.parametrize(
    "text",
    [
        "\x1b]52;c;cm0gLXJmIH4=\x07",  # writes to the clipboard
        "\x1b]8;;http://evil\x1b\\here\x1b]8;;\x1b\\",
        "\x9b2K\x9b1A",
        "\x1bP+q544e\x1b\\",
        "pi\rroot",
        "pi\x08\x08ok",
        "\x7f",
        "\u202egnp.exe",
        "\u2067a\u2069",
        "a\u2028b\u2029c\x85d\x0be\x0cf",
        "\U000e0069\U000e0067",
        "\udc9b",
    ],
)
def test_what_steers_a_terminal_is_written_out(text):
    for shown in (shown_line(text), shown_text(text)):
        assert shown.isprintable()


@pytest.mark.parametrize(
    "text",
    [
        "السلام عليكم",
        "שָׁלוֹם",
        "नमस्ते, क्‍ष",
        "ᠮᠣᠩᠭᠣᠯ",
        "👨‍👩‍👧 ❤️ 🏳️‍🌈",
        "e\u0301 ñ",
        "一 二　三",
        "naïve «ça» 10\u00a0000",
    ],
)
def test_text_of_all_scripts_stays_as_it_is(text):
    assert shown_line(text) == shown_text(text) == text


@pytest.mark.parametrize("text", ["\x9b2K\x1b", "\u202eabc", "\U000e0069", "\udc9b", "\x7f"])
def test_a_line_of_json_stays_one_with_the_same_value(text):
    as_json = json.dumps({"text": text}, ensure_ascii=False)
    assert json.loads(shown_text(as_json)) == {"text": text}


def test_line_breaks_and_tabs_stay_in_a_text_and_not_in_a_line():
    assert shown_text("one\n\ttwo\r\nthree\rfour") == "one\n\ttwo\nthree\\u000dfour"
    assert shown_line("pi\nready: 3 stages\t") == "pi\\u000aready: 3 stages\\u0009"


def test_what_was_written_out_is_not_written_out_again():
    shown = shown_text("\x1b[2J\u202e\n")
    assert shown_text(shown) == shown


@given(st.text())
def test_whatever_comes_steers_nothing_and_the_rest_of_it_stays(text):
    for shown in (shown_line(text), shown_text(text)):
        assert steering(shown) == [] and shown_text(shown) == shown
    assert "\n" not in shown_line(text)
    assert [c for c in text if c.isprintable()] == [c for c in _unwritten(text) if c.isprintable()]


def _unwritten(text):
    """What is left of a text when all that is written out is taken out again."""
    return "".join(letter for letter in text if shown_line(letter) == letter)
