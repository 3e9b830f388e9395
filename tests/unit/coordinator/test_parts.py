"""A thought is told from the answer behind it, in whatever pieces both come."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pi_cluster.coordinator.asking.parts import AnswerParts, Thought

cuts = st.lists(st.integers(0, 40), max_size=8)


def parts_of(text, cut_at, *, begun):
    answer = AnswerParts(begins_in_thought=begun)
    ends = sorted({min(at, len(text)) for at in cut_at} | {0, len(text)})
    parts = [p for a, b in pairwise(ends) for p in answer.push(text[a:b])]
    parts += answer.finish()
    joined = dict.fromkeys((True, False), "")
    for part in parts:
        is_thought = isinstance(part, Thought)
        assert part.text
        assert not (is_thought and joined[False])  # a thought comes first
        joined[is_thought] += part.text
    return joined[True], joined[False]


@pytest.mark.parametrize(
    ("text", "begun", "thought", "answer"),
    [
        ("<think>\nhm</think>\n\nYes.", False, "<think>\nhm</think>", "\n\nYes."),
        ("\n <think>hm", False, "\n <think>hm", ""),
        ("hm </thi</think>Yes </think>", True, "hm </thi</think>", "Yes </think>"),
        ("hm </thin", True, "hm </thin", ""),
        ("Yes <think>x</think>", False, "", "Yes <think>x</think>"),
        ("<thin ice", False, "", "<thin ice"),
        ("<thin", False, "", "<thin"),
        ("", False, "", ""),
    ],
)
@settings(max_examples=40)
@given(cut_at=cuts)
def test_a_thought_ends_where_its_tag_does(text, begun, thought, answer, cut_at):
    assert parts_of(text, cut_at, begun=begun) == (thought, answer)
