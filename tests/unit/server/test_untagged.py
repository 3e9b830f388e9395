"""Thoughts lose their tags and the white space around them, in whatever pieces they come."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pi_cluster.coordinator.asking.parts import AnswerParts, Thought
from pi_cluster.server.asking.untagged import Untagged


@pytest.mark.parametrize(
    ("text", "begun", "thought", "said"),
    [
        ("<think>\nhm, so</think>\n\nYes.\n", False, "hm, so", "Yes.\n"),
        ("\n <think> hm", False, "hm", ""),
        ("hm</think> Yes", True, "hm", "Yes"),
        ("<think>\n\n</think>\n\nYes", False, "", "Yes"),
        (" Yes <think>x</think>", False, "", " Yes <think>x</think>"),
    ],
)
@settings(max_examples=40)
@given(cut_at=st.lists(st.integers(0, 40), max_size=8))
def test_a_thought_comes_without_its_tags(text, begun, thought, said, cut_at):
    answer, untagged = AnswerParts(begins_in_thought=begun), Untagged()
    ends = sorted({min(at, len(text)) for at in cut_at} | {0, len(text)})
    parts = [part for a, b in pairwise(ends) for part in answer.push(text[a:b])]
    parts = [untagged.part(part) for part in (*parts, *answer.finish())]
    thoughts = [part.text for part in parts if isinstance(part, Thought)]
    assert "".join(thoughts) == thought
    assert "".join(part.text for part in parts if not isinstance(part, Thought)) == said
