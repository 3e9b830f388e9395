"""A thought is told from the answer behind it, in whatever pieces both come."""

import os
import subprocess
import sys
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pi_cluster.deploy.screen.dimming import Thought
from tests.support.terminal import Terminal

cuts = st.lists(st.integers(0, 40), max_size=8)


def parts_of(text, cut_at, *, begun):
    thought = Thought(begun=begun)
    ends = sorted({min(at, len(text)) for at in cut_at} | {0, len(text)})
    parts = [p for a, b in pairwise(ends) for p in thought.push(text[a:b])]
    parts.append(thought.finish())
    joined = dict.fromkeys((True, False), "")
    for part, is_thought in parts:
        assert not (part and is_thought and joined[False])  # a thought comes first
        joined[is_thought] += part
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
@settings(max_examples=40, deadline=None, derandomize=True)
@given(cut_at=cuts)
def test_a_thought_ends_where_its_tag_does(text, begun, thought, answer, cut_at):
    assert parts_of(text, cut_at, begun=begun) == (thought, answer)


PROGRAM = """
from pi_cluster.deploy.screen import output
output.stream("hm ", True)
output.stream("Yes")
output.stream(" more", True)
output.end_line()
"""


def test_a_screen_dims_a_thought_and_is_as_it_was_behind_it():
    env = os.environ | {"TERM": "xterm"}
    with Terminal([sys.executable, "-c", PROGRAM], env, columns=40) as terminal:
        assert terminal.to_end() == "\x1b[2mhm\x1b[22m Yes\x1b[2m more\x1b[22m\r\n"


def test_a_pipe_gets_no_codes():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "hm Yes more\n"
