"""Hosts of the test bed: one network for each module, on which its hosts come and go."""

import pytest

from pi_cluster import storyteller
from tests.support.stores import shard
from tests.testbed.network.network import Network
from tests.testbed.operator_host import Operator


@pytest.fixture(scope="module")
def network():
    """The operator's computer and four Pis, which answer as fast as they can."""
    with Network(5, "none") as made:
        yield made


@pytest.fixture(scope="module")
def operator(network, tmp_path_factory):
    """Somebody at host 0."""
    with Operator(network, tmp_path_factory.mktemp("operator")) as person:
        yield person


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """The embedded model with the weights as they were trained, with which the ids are golden."""
    path = tmp_path_factory.mktemp("golden") / "store"
    shard(storyteller.checkpoint_path(), path, "f32")
    return path
