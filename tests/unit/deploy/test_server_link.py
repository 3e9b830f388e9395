"""The way to a server, from what a user has set."""

import pytest

from pi_cluster.cluster.errors import AccessError
from pi_cluster.deploy.asking.server_link import link_to_server


@pytest.mark.parametrize("key", ["pck_one\npck_two", "pck_…"])
def test_a_key_that_no_header_could_hold_is_refused_and_not_shown(key, monkeypatch):
    monkeypatch.setenv("PI_CLUSTER_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("PI_CLUSTER_API_KEY", key)
    with pytest.raises(AccessError, match="PI_CLUSTER_API_KEY is no key") as refused:
        link_to_server("kitchen")
    assert "pck_" not in str(refused.value)
