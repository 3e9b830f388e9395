"""``up``, ``status`` and ``down`` of three local workers, as a newcomer types them."""

import itertools

import pytest

from pi_cluster.cluster.settings import DEFAULT_TEXTS
from tests.support.cluster_process import describe_all, processes_of


@pytest.fixture
def cluster(make_cluster):
    """A cluster whose nodes are new, as a newcomer's are."""
    with make_cluster(measured=False) as fresh:
        yield fresh


def test_up_prints_its_plan_on_standard_error_and_status_shows_every_layer_ready(cluster):
    outcome = cluster.up("--local", "3")
    for words in ("local-1", "local-2", "local-3", "layers", "memory", "ready: 3 stages"):
        assert words in outcome.err
    status = cluster.run("status", "--json").json()
    assert [stage["node"] for stage in status["stages"]] == ["local-1", "local-2", "local-3"]
    assert {stage["state"] for stage in status["stages"]} == {"ready"}
    bounds = [tuple(map(int, stage["layers"].split(":"))) for stage in status["stages"]]
    assert bounds[0][0] == 0 and bounds[-1][1] == 32
    assert all(before[1] == after[0] for before, after in itertools.pairwise(bounds))
    assert all(start < stop for start, stop in bounds)
    table = cluster.run("status")
    assert table.code == 0 and all(stage["layers"] in table.out for stage in status["stages"])


def test_a_second_up_of_the_same_model_sends_one_token_round_and_moves_nothing(story):
    before = story.status()
    outcome = story.up("--local", "3")
    assert "already up: nothing to move" in outcome.err
    after = story.status()
    assert after["epoch"] == before["epoch"]
    places = ("node_id", "address", "layers")
    assert [[s[p] for p in places] for s in after["stages"]] == [
        [s[p] for p in places] for s in before["stages"]
    ]
    assert [s["steps"] for s in after["stages"]] == [1 + s["steps"] for s in before["stages"]]


def test_another_number_of_texts_loads_the_pipeline_anew_with_that_room(cluster):
    cluster.up("--local", "1")
    before = cluster.record()
    outcome = cluster.up("--local", "1", "--texts", "1")
    assert "ready: 1 stage, 0 B moved" in outcome.err
    after = cluster.record()
    assert after.epoch == before.epoch + 1
    assert before.limits.cache_positions == DEFAULT_TEXTS * after.limits.cache_positions
    assert after.stages[0].memory_bytes < before.stages[0].memory_bytes
    assert "already up" in cluster.up("--local", "1", "--texts", "1").err


def test_mdns_alone_finds_the_workers_that_run(story):
    outcome = story.up()
    assert "already up" in outcome.err and "warning" not in outcome.err


def test_down_stops_every_process_and_a_second_down_is_no_error(cluster):
    cluster.up("--local", "2")
    assert len(processes_of(cluster.folder)) == 4  # two workers, each with its supervisor
    first = cluster.run("down")
    assert (first.code, first.out) == (0, "") and "2 local workers stopped" in first.err
    assert not processes_of(cluster.folder)
    second = cluster.run("down")
    assert (second.code, second.out) == (0, "") and "no pipeline was up" in second.err
    asked = cluster.run("prompt", "Tell me a story.")
    assert (asked.code, asked.out) == (1, "")
    assert "no pipeline is up" in asked.err and "pi-cluster up" in asked.err
    assert cluster.run("status").code == 1


def test_every_stage_computes_with_its_own_layers_only(story):
    nodes = describe_all(story.record())
    manifest = story.record().manifest
    for node in nodes:
        layers = node.stage.layers
        files = manifest.stage_files(layers.start, layers.stop)
        assert node.stage.weight_bytes == sum(file.size_bytes for file in files)
        held = story.folder / "data" / "pi-cluster" / story.name / node.name / "shards"
        assert {path.stem for path in held.iterdir()} == {file.sha256 for file in files}
