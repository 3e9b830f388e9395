"""The same ids to the last one, however the layers and the prompt are cut.

The prompt is longer than three windows of 128 positions, so that every cache has rolled.
"""

import pytest

PROMPT = ",".join(map(str, [1, *((5 + i * 37) % 2000 + 5 for i in range(389))]))
GREEDY = ("--temperature", "0")
SEEDED = ("--temperature", "0.9", "--top-p", "0.95", "--seed", "11")
RUNS = {
    1: [("1", GREEDY), ("7", SEEDED)],
    2: [("7", GREEDY), ("64", SEEDED)],
    3: [("64", GREEDY), ("7", SEEDED)],
    5: [("1", SEEDED), ("7", GREEDY), ("64", GREEDY)],
}


@pytest.fixture(scope="module")
def changing_cluster(make_cluster):
    with make_cluster() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def expected(changing_cluster):
    """What one stage answers to the prompt in one chunk after another of 64."""
    changing_cluster.up("--local", "1")
    return {sampling: ids_of(changing_cluster, "64", sampling) for sampling in (GREEDY, SEEDED)}


def ids_of(cluster, chunk_size, sampling):
    words = ("--ids", PROMPT, "--chunk-size", chunk_size, "--max-tokens", "20", *sampling)
    return cluster.prompt(*words)["ids"]


@pytest.mark.parametrize("workers", RUNS)
def test_workers_and_chunks_do_not_change_the_ids(changing_cluster, expected, workers):
    changing_cluster.up("--local", str(workers))
    assert len(changing_cluster.record().stages) == workers
    for chunk_size, sampling in RUNS[workers]:
        assert ids_of(changing_cluster, chunk_size, sampling) == expected[sampling], chunk_size
    assert len(expected[GREEDY]) == 20 and expected[GREEDY] != expected[SEEDED]
