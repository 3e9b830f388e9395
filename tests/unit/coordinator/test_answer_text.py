"""What is shown of an answer: all of it up to the first stop string, and nothing too early."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pi_cluster.coordinator.answer_text import AnswerText
from pi_cluster.transformer.errors import SettingsError


class Pieces:
    """Stands in for a detokenizer: token ``i`` is the ``i``-th piece; a rest comes at the end."""

    def __init__(self, pieces: list[str], rest: str = "") -> None:
        self._pieces, self._rest = pieces, rest

    def push(self, token_id: int) -> str:
        return self._pieces[token_id]

    def finish(self) -> str:
        return self._rest


def shown_of(pieces: list[str], stops: list[str], rest: str = "") -> list[str]:
    """What each piece, and then the end, lets be shown."""
    answer = AnswerText(Pieces(pieces, rest), stops)
    shown = [*(answer.push(i) for i in range(len(pieces))), answer.finish()]
    assert answer.text == "".join(shown)
    return shown


def text_before_the_first_stop(text: str, stops: list[str]) -> str:
    """Read letter by letter; the first stop to be complete ends it, the longest if several are."""
    for end in range(1, len(text) + 1):
        starts = [end - len(stop) for stop in stops if text[:end].endswith(stop)]
        if starts:
            return text[: min(starts)]
    return text


def test_without_stops_every_piece_is_shown_at_once():
    assert shown_of(["Once", " upon", "", " a"], [], rest="\ufffd") == [
        *("Once", " upon", "", " a", "\ufffd")
    ]


def test_a_stop_across_token_boundaries_is_never_shown():
    pieces = ["Once ", "E", "N", "D", " more"]
    assert shown_of(pieces, ["END"]) == ["Once ", "", "", "", "", ""]


def test_what_only_began_like_a_stop_is_shown_when_it_goes_on_otherwise():
    assert shown_of(["a E", "N", "T"], ["END"]) == ["a ", "", "ENT", ""]
    assert shown_of(["EEN", "D"], ["END"]) == ["E", "", ""]


def test_held_back_text_is_shown_at_the_end():
    assert shown_of(["the E", "N"], ["END"]) == ["the ", "", "EN"]


def test_a_stop_that_the_very_end_completes_is_not_shown():
    answer = AnswerText(Pieces(["the E", "N"], rest="D!"), ["END"])
    assert [answer.push(0), answer.push(1), answer.finish()] == ["the ", "", ""]
    assert answer.stopped


def test_nothing_is_shown_after_a_stop_also_within_its_piece():
    assert shown_of(["one.two", "three"], ["."], rest="four") == ["one", "", ""]


def test_an_answer_tells_whether_it_was_stopped():
    answer = AnswerText(Pieces(["a", "."]), ["."])
    answer.push(0)
    assert not answer.stopped
    answer.push(1)
    assert answer.stopped


def test_a_stop_that_overlaps_itself_is_found():
    assert "".join(shown_of(["a", "a", "b", "a", "a", "c"], ["aac"])) == "aab"
    assert "".join(shown_of(["xa", "aa", "ab"], ["aab"])) == "xaa"


@pytest.mark.parametrize("pieces", [["xabcy"], ["xab", "cy"], ["x", "a", "b", "c", "y"]])
def test_of_stops_within_each_other_the_first_to_be_complete_ends_the_text(pieces):
    assert "".join(shown_of(pieces, ["abc", "b"])) == "xa"
    assert "".join(shown_of(pieces, ["abc", "bc"])) == "x"
    assert "".join(shown_of(pieces, ["bc", "ab"])) == "x"


@pytest.mark.parametrize("stops", [[""], ["END", ""]])
def test_an_empty_stop_string_is_refused(stops):
    with pytest.raises(SettingsError, match="--stop"):
        AnswerText(Pieces([]), stops)


few_letters = st.text(alphabet="ab\n", max_size=5)


@settings(max_examples=600)
@given(
    pieces=st.lists(few_letters, max_size=10),
    rest=few_letters,
    stops=st.lists(st.text(alphabet="ab\n", min_size=1, max_size=4), max_size=3),
)
def test_the_shown_pieces_are_the_text_before_the_first_stop_however_it_is_cut(pieces, rest, stops):
    text = "".join(pieces) + rest
    assert "".join(shown_of(pieces, stops, rest)) == text_before_the_first_stop(text, stops)


@settings(max_examples=300)
@given(
    pieces=st.lists(few_letters, max_size=10),
    stops=st.lists(st.text(alphabet="ab\n", min_size=1, max_size=4), max_size=3),
)
def test_no_more_is_held_back_than_may_become_a_stop(pieces, stops):
    answer = AnswerText(Pieces(pieces), stops)
    text = ""
    for index, piece in enumerate(pieces):
        answer.push(index)
        text += piece
        if answer.stopped:
            return
        held = text.removeprefix(answer.text)
        assert not held or any(stop.startswith(held) for stop in stops)
