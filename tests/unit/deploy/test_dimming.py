"""A screen dims what is a thought."""

import os
import subprocess
import sys

from tests.support.terminal import Terminal

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
