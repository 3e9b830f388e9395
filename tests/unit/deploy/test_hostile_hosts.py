"""A host that answers over SSH as it likes: nothing of it steers the operator's terminal."""

import sys
from pathlib import Path

import pytest

from pi_cluster.cluster.errors import HostError
from pi_cluster.coordinator.records.known_hosts import Host
from pi_cluster.deploy.hosts.remote import framing
from pi_cluster.deploy.hosts.remote_host import RemoteHost
from tests.support.hostile import HOSTILE, steering

ROOT = Path(framing.__file__).parents[3]
TOLD = r"\u001b]0;owned"
# In the place of the user's `ssh`, which only carries what the host says.
SSH = """#!{python}
import sys
sys.path.insert(0, {root!r})
from pi_cluster.deploy.hosts.remote import framing
if "-G" in sys.argv:
    sys.exit()
hostile = {hostile!r}
{does}
"""
GREETING = """
framing.send(sys.stdout.buffer, {"hello": [3, 11]})
for _ in range(2):
    sys.stdin.buffer.read(int(sys.stdin.buffer.readline()))
"""
ANSWERING = GREETING + "framing.send(sys.stdout.buffer, {answer})\nsys.stdin.buffer.read()"


@pytest.fixture
def host(tmp_path, monkeypatch):
    """Returns what makes a host that does something."""

    def make(does):
        script = tmp_path / "ssh"
        script.write_text(
            SSH.format(python=sys.executable, root=str(ROOT), hostile=HOSTILE, does=does)
        )
        script.chmod(0o755)
        return RemoteHost(Host("pi1.local"))

    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    return make


def test_a_failure_that_it_tells_is_one_harmless_line(host):
    answer = '{"failure": hostile + chr(10) + "ready: 3 stages"}'
    with (
        pytest.raises(HostError, match=r"pi1\.local: ") as told,
        host(ANSWERING.replace("{answer}", answer)) as remote,
    ):
        remote.ask("facts")
    text = str(told.value)
    assert TOLD in text and steering(text) == [] and "\n" not in text


def test_texts_that_it_answers_are_harmless_and_keep_their_lines(host):
    answer = '{"done": {"unit": hostile + chr(10) + "b", "lines": [hostile, 3, None, True]}}'
    with host(ANSWERING.replace("{answer}", answer)) as remote:
        done = remote.ask("facts")
    assert steering(done["unit"]) == [] and done["unit"].endswith("\nb")
    assert steering(done["lines"][0]) == [] and done["lines"][1:] == [3, None, True]


@pytest.mark.parametrize("depth", [600, 100_000])
def test_an_answer_without_a_bottom_is_refused(host, depth):
    does = GREETING + (
        f"answer = b'{{\"done\": ' + b'[' * {depth} + b']' * {depth} + b'}}'\n"
        "sys.stdout.buffer.write(len(answer).to_bytes(4, 'big') + answer)"
    )
    with pytest.raises(HostError, match=r"pi1\.local: "), host(does) as remote:
        remote.ask("facts")


@pytest.mark.parametrize(
    "does",
    [
        "sys.stderr.write(hostile)\nsys.exit(255)",
        "sys.stderr.write('ssh: Could not resolve hostname a' + hostile + ': x')\nsys.exit(255)",
        "sys.stderr.write(hostile)\nsys.exit(1)",
        "sys.stderr.write('too old: Python ' + hostile)\nsys.exit(1)",
    ],
)
def test_what_it_writes_as_an_error_is_one_harmless_line(host, does):
    with pytest.raises(HostError, match=r"pi1\.local: ") as told, host(does):
        pass
    assert steering(str(told.value)) == [] and "\n" not in str(told.value)
