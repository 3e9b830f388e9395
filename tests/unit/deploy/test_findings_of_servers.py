"""What the doctor makes of the server that runs on this machine."""

import pytest

from pi_cluster.deploy.doctor.facts import ServerFacts
from pi_cluster.deploy.doctor.findings import Severity
from pi_cluster.deploy.doctor.judgement import judge
from tests.support.facts import NOW, a_cluster

DAY_S = 86_400
WELL = {
    "url": "https://0.0.0.0:8080",
    "version": "1.0",
    "answers_here": True,
    "unreached": (),
    "is_open_to_keys_alone": True,
    "keys": 1,
    "certificate_expires_unix_s": NOW + 90 * DAY_S,
    "tls_error": "",
}


def found(**changes):
    """What is found of a server that is well but for the changes."""
    server = ServerFacts(**(WELL | changes))
    before = judge(a_cluster())
    return [one for one in judge(a_cluster(server=server)) if one not in before]


def test_a_server_that_is_well_is_not_spoken_of():
    assert found() == []
    assert found(certificate_expires_unix_s=None, is_open_to_keys_alone=False, keys=0) == []


@pytest.mark.parametrize(
    ("changes", "severity", "words", "to_do"),
    [
        ({"answers_here": False}, "PROBLEM", "does not answer", "its log"),
        ({"unreached": ("0.0.0.0:8080: refused",)}, "PROBLEM", "0.0.0.0:8080: refused", "again"),
        ({"keys": 0}, "PROBLEM", "wants a key, and there is none", "key create NAME"),
        ({"certificate_expires_unix_s": NOW - 1}, "PROBLEM", "out of date", "start the server"),
        ({"certificate_expires_unix_s": NOW + 3 * DAY_S}, "WARNING", "ends in 3 d", "start"),
        ({"tls_error": "it hung up"}, "PROBLEM", "no certificate (it hung up)", "its log"),
        ({"version": "0.9"}, "WARNING", "runs pi-cluster 0.9, and 1.0", "start the server"),
    ],
)
def test_what_is_the_matter_with_a_server_is_told_with_what_to_do(changes, severity, words, to_do):
    [one] = found(**changes)
    assert one.severity is Severity[severity]
    assert words in one.what and to_do in one.to_do
