"""What a fresh Pi is told to do to join by itself."""

import json
import shlex

from cluster.tokens import Token
from deploy.cloud_init import user_data

TOKEN = Token("0123abcd", bytes(32), bytes(32))


def commands(text):
    lines = text[text.index("runcmd:") :].splitlines()[1:]
    return [json.loads(line.removeprefix("  - ")) for line in lines]


def test_the_token_lies_in_a_private_file_and_on_no_command_line():
    text = user_data(TOKEN, "default", "pi-cluster==1.2.3")
    assert text.startswith("#cloud-config\n") and text.count(TOKEN.text) == 1
    assert 'permissions: "0600"' in text
    assert not any(TOKEN.text in command for command in commands(text))


def test_what_is_installed_stays_one_word_of_one_command():
    source = 'https://example.org/a\'; rm -rf /\n"b".whl'
    install = next(c for c in commands(user_data(TOKEN, "default", source)) if " install " in c)
    assert shlex.split(install)[-1] == source


def test_another_cluster_than_the_default_is_named():
    assert not any("--cluster" in one for one in commands(user_data(TOKEN, "default", "x")))
    assert any("--cluster garage" in one for one in commands(user_data(TOKEN, "garage", "x")))
