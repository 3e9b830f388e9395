"""What a chat page asks for itself is told from a chat."""

import pytest

from pi_cluster.server.asking.one_off import is_one_off

TASK = "### Task:\nGenerate a concise, 3-5 word title.\n### Chat History:\n..."


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ([{"role": "user", "content": TASK}], True),
        ([{"role": "system", "content": "Be brief."}, {"role": "user", "content": TASK}], True),
        ([{"role": "user", "content": TASK}, {"role": "assistant", "content": "A fox"}], False),
        ([{"role": "user", "content": "Tell me of ### Task: lines"}], False),
        ([{"role": "assistant", "content": None}], False),
        (TASK, True),
        ("Hello", False),
        ([1, 2, 3], False),
        ([], False),
    ],
)
def test_a_title_is_a_one_off_and_a_turn_of_a_chat_is_none(prompt, expected):
    assert is_one_off(prompt) is expected
