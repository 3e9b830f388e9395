"""Clusters for the tests: one that many share, and fresh ones for those that change theirs."""

import json
from pathlib import Path

import pytest

from tests.cluster_process import Cluster, processes_of

GOLDENS = Path(__file__).parents[1] / "parity" / "goldens"


@pytest.fixture(scope="session")
def integration_folder(tmp_path_factory):
    """Everything lies below it; when the tests are over, no process of it may be left."""
    folder = tmp_path_factory.mktemp("clusters")
    yield folder
    assert not processes_of(folder)


@pytest.fixture(scope="session")
def make_cluster(integration_folder):
    """Makes clusters; they share the cache, as clusters of one user do."""
    numbers = iter(range(1000))

    def make():
        folder = integration_folder / str(next(numbers))
        folder.mkdir()
        return Cluster(folder, integration_folder / "cache")

    return make


@pytest.fixture
def cluster(make_cluster):
    """A cluster in which nothing runs yet."""
    with make_cluster() as fresh:
        yield fresh


@pytest.fixture(scope="session")
def story(make_cluster):
    """The embedded model on three workers. Whoever uses it leaves it as it was."""
    with make_cluster() as shared:
        shared.up("--local", "3")
        yield shared


@pytest.fixture(scope="session")
def golden():
    """A prompt's ids and the 200 greedy ids that transformers continues it with."""
    cases = json.loads((GOLDENS / "storyteller.json").read_text())
    case = next(c for c in cases if c["eos_at"] is None or c["eos_at"] >= 200)
    return case["prompt_ids"], case["greedy_ids"][:200]
