"""Hosts of the test bed: one network for each module, on which its hosts come and go."""

import pytest

from benchmarks.virtual.network import Network
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
