"""Real workers on the kernels: what they run on, and that it does not change a single id."""

import pytest

from pi_cluster.cluster.wire.client import NodeClient
from pi_cluster.cluster.wire.peer import Peer
from pi_cluster.deploy.embedded import embedded_store
from pi_cluster.kernels import variants
from tests.support.cluster_process import describe_all
from tests.support.worker_servers import PLAIN

# Longer than the window of 128, so that every cache has rolled.
PROMPT = ",".join(map(str, [1, *((5 + i * 37) % 2000 + 5 for i in range(200))]))
ASKED = ("--ids", PROMPT, "--temperature", "0.9", "--seed", "11", "--max-tokens", "40")


@pytest.fixture
def expected(story):
    """What three workers answer, on the fastest kernels and with threads as they choose."""
    assert {node.kernels for node in describe_all(story.record())} == {variants()[0]}
    ids = story.prompt(*ASKED)["ids"]
    assert len(ids) == 40
    return ids


def test_the_embedded_store_is_packed(story):
    with story.environment():
        manifest = story.record().manifest
        assert embedded_store().name.startswith("storyteller-q4m-")
    assert (manifest.weights, manifest.outer_weights) == ("q4m", "q8")


def test_portable_kernels_in_one_worker_give_the_ids_of_the_fastest_in_three(cluster, expected):
    cluster.env["PI_CLUSTER_KERNELS"] = "portable"
    cluster.up("--local", "1")
    (node,) = describe_all(cluster.record())
    assert node.kernels == "portable"
    assert cluster.prompt(*ASKED)["ids"] == expected


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_do_not_change_the_ids(cluster, expected, threads):
    _, address = cluster.start_worker("by-hand", "--threads", str(threads))
    with NodeClient(Peer(address), PLAIN) as client:
        assert client.describe().threads == threads
    cluster.up("--nodes", address)
    assert cluster.prompt(*ASKED)["ids"] == expected


def test_a_node_of_other_kernels_among_the_rest_changes_nothing(cluster, expected):
    _, first = cluster.start_worker("usual")
    cluster.env["PI_CLUSTER_KERNELS"] = "portable"
    _, second = cluster.start_worker("portable")
    cluster.up("--nodes", f"{first},{second}")
    kernels = [node.kernels for node in describe_all(cluster.record())]
    assert kernels == [variants()[0], "portable"]
    assert cluster.prompt(*ASKED)["ids"] == expected


def test_kernels_that_do_not_exist_are_refused_with_those_that_do(cluster):
    cluster.env["PI_CLUSTER_KERNELS"] = "nonsense"
    outcome = cluster.run("worker", "--no-mdns", "--listen", "127.0.0.1:0")
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.splitlines()[-1] == (
        f"error: this machine has no kernels 'nonsense'; it has {', '.join(variants())}"
    )
    assert "Traceback" not in outcome.err
