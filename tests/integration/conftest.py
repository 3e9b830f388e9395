"""Clusters for the tests: one that many share, and fresh ones for those that change theirs."""

import json
import signal
from pathlib import Path

import pytest

from pi_cluster.cluster.store.store import Store
from tests.support.checkpoints import small_config, write_hugging_face_checkpoint
from tests.support.cluster_process import Cluster, processes_of
from tests.support.servers import serving
from tests.support.stores import shard

GOLDENS = Path(__file__).parents[1] / "parity" / "goldens"


@pytest.fixture(scope="session", autouse=True)
def _ctrl_c_reaches_commands():
    """A shell that starts the tests in the background has them, and all they start, ignore it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


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

    def make(measured=True):
        folder = integration_folder / str(next(numbers))
        folder.mkdir()
        return Cluster(folder, integration_folder / "cache", measured)

    return make


@pytest.fixture
def cluster(make_cluster):
    """A cluster in which nothing runs yet."""
    with make_cluster() as fresh:
        yield fresh


@pytest.fixture(scope="session")
def shared_story(make_cluster):
    """The embedded model on three workers."""
    with make_cluster() as shared:
        shared.up("--local", "3")
        yield shared


@pytest.fixture
def story(shared_story):
    """The embedded model on three workers, which whoever uses it leaves as it was."""
    yield shared_story
    shared_story.stop_commands()


@pytest.fixture(scope="session")
def served_story(make_cluster):
    """A server of the embedded model on two workers, with room for eight texts at once."""
    with make_cluster() as cluster:
        cluster.up("--local", "2", "--texts", "8")
        with serving(cluster) as server:
            yield server


@pytest.fixture(scope="session")
def endless():
    """Words after ``prompt`` that make the embedded model talk for many hundred tokens.

    The end-of-sequence id 2 stands in the prompt, and what stands there is all but forbidden.
    """
    return ("--ids", "1,3,2,558,355", "--temperature", "0", "--repeat-penalty", "1e9")


@pytest.fixture(scope="session")
def golden():
    """A prompt's ids and the 200 greedy ids that transformers continues it with."""
    cases = json.loads((GOLDENS / "storyteller.json").read_text())
    case = next(c for c in cases if c["eos_at"] is None or c["eos_at"] >= 200)
    return case["prompt_ids"], case["greedy_ids"][:200]


@pytest.fixture(scope="session")
def random_store(tmp_path_factory):
    """Six layers of random weights, all of which matter, and a window of 32."""
    folder = tmp_path_factory.mktemp("random")
    write_hugging_face_checkpoint(folder / "checkpoint", small_config(n_layers=6))
    shard(folder / "checkpoint", folder / "store", "f32")
    return Store(folder / "store")
