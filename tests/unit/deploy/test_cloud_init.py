"""What a fresh Pi is told to do to join by itself."""

import json
import shlex

from pi_cluster.cluster.trust.tokens import Token
from pi_cluster.deploy.hosts.cloud_init import user_data
from tests.hosts.clone import printed_lines

TOKEN = Token("0123abcd", bytes(32), bytes(32))


def commands(text):
    """What is done one after the other, as far as nothing fails."""
    (line,) = text[text.index("runcmd:") :].splitlines()[1:]
    return json.loads(line.removeprefix("  - ")).split(" && ")


def test_the_token_lies_in_a_private_file_and_on_no_command_line():
    text = user_data(TOKEN, "default", "pi-cluster==1.2.3")
    assert text.startswith("#cloud-config\n") and text.count(TOKEN.text) == 1
    assert 'permissions: "0600"' in text
    assert not any(TOKEN.text in command for command in commands(text))


def test_the_token_is_removed_last_when_all_else_has_succeeded():
    *_, join, removed = commands(user_data(TOKEN, "default", "x"))
    assert join.endswith(" join - < /root/pi-cluster.token")
    assert removed == "rm -f /root/pi-cluster.token"


def test_what_is_installed_stays_one_word_of_one_command():
    source = 'https://example.org/a\'; rm -rf /\n"b".whl'
    install = next(c for c in commands(user_data(TOKEN, "default", source)) if " install " in c)
    assert shlex.split(install)[-1] == source


def test_it_is_the_program_of_the_document_and_found_by_sudo():
    """A Pi that cloud-init made a node of is upgraded, and leaves, by the document's lines."""
    install, _, remove = printed_lines("docs/getting-started.md", "A Pi that joins by itself")
    told = commands(user_data(TOKEN, "default", "x"))
    assert install[1].removeprefix("sudo ") == told[0]
    assert shlex.split(install[3])[:-1] == ["sudo", *shlex.split(told[2])[:-1]]
    assert shlex.split(remove[1])[-1] == shlex.split(told[2])[-1]


def test_another_cluster_than_the_default_is_named():
    assert not any("--cluster" in one for one in commands(user_data(TOKEN, "default", "x")))
    assert any("--cluster garage" in one for one in commands(user_data(TOKEN, "garage", "x")))
