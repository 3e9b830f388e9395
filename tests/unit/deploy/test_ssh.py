"""What OpenSSH 9.2 writes when it fails, as sentences with the next step."""

import pytest

from pi_cluster.coordinator.records.known_hosts import Host
from pi_cluster.deploy.hosts.ssh import explain

CHANGED = """\
@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @
@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
IT IS POSSIBLE THAT SOMEONE IS DOING SOMETHING NASTY!
Someone could be eavesdropping on you right now (man-in-the-middle attack)!
It is also possible that a host key has just been changed.
The fingerprint for the ED25519 key sent by the remote host is
SHA256:Yv8yrSfFJPSOv3gnGnX7fXa8Z7kZoVXLmXZ4mP3zqaU.
Please contact your system administrator.
Add correct host key in {file} to get rid of this message.
Offending ED25519 key in {file}:3
  remove with:
  ssh-keygen -f "{file}" -R "pi1.local"
Host key for pi1.local has changed and you have requested strict checking.
Host key verification failed.
"""
NO_KEY = "pi@pi1.local: Permission denied (publickey,password).\n"


@pytest.mark.parametrize(
    ("host", "stderr", "said"),
    [
        (Host("pi1.local"), CHANGED.format(file="/x/known"), "ssh-keygen -f /x/known -R pi1.local"),
        (Host("pi1.local"), CHANGED.format(file="/x/known"), "flashed anew"),
        (
            Host("pi1.local", port=2222),
            "REMOTE HOST IDENTIFICATION HAS CHANGED!",
            "`ssh-keygen -R '[pi1.local]:2222'`",
        ),
        (
            Host("pi1.local"),
            "No ED25519 host key is known for pi1.local and you have requested strict checking.\n"
            "Host key verification failed.\n",
            "log in once with `ssh pi1.local`",
        ),
        (
            Host("pi9.local"),
            "ssh: Could not resolve hostname pi9.local: Name or service not known\n",
            "no computer called pi9.local is found",
        ),
        (
            Host("pi1.local"),
            "ssh: connect to host pi1.local port 22: Connection refused\n",
            "refuses connections on port 22: enable SSH",
        ),
        (
            Host("pi1.local"),
            "ssh: connect to host pi1.local port 22: Connection timed out\n",
            "does not answer (connection timed out)",
        ),
        (
            Host("pi1.local"),
            "ssh: connect to host pi1.local port 22: No route to host\n",
            "does not answer (no route to host)",
        ),
        (Host("pi1.local", "pi"), NO_KEY, "none of your SSH keys for pi@pi1.local"),
        (Host("pi1.local", "pi", 2222), NO_KEY, "`ssh-copy-id -p 2222 pi@pi1.local`"),
        (
            Host("pi1.local"),
            "pi@pi1.local: Permission denied (password).\n",
            "lets nobody in by key",
        ),
        (
            Host("pi1.local"),
            "Received disconnect from 10.77.0.11 port 22:2: Too many authentication failures\n"
            "Disconnected from 10.77.0.11 port 22\n",
            "too many keys were offered",
        ),
        (
            Host("pi1.local"),
            "Timeout, server pi1.local not responding.\n",
            "the connection was lost",
        ),
        (Host("pi1.local"), "client_loop: send disconnect: Broken pipe\n", "run the same command"),
        (Host("pi1.local"), "Connection closed by 10.77.0.11 port 22\n", "connection was lost"),
        (Host("pi1.local", "pi"), "something new\n", "(something new): try `ssh pi@pi1.local`"),
        (Host("pi1.local"), "", "pi1.local: ssh failed: try `ssh pi1.local`"),
    ],
)
def test_a_failure_of_ssh_becomes_a_sentence_with_the_next_step(host, stderr, said):
    sentence = explain(host, stderr)
    assert said in sentence
    assert sentence.startswith(f"{host.host}: ")
