"""What one machine brings up anew, another one goes on asking, without a new grant."""

import shutil
import signal
from dataclasses import replace

import pytest

from pi_cluster.coordinator.healing.following import look_for_newer
from pi_cluster.coordinator.healing.told_pipeline import followed
from pi_cluster.coordinator.pipeline.nodes import ask_all
from pi_cluster.coordinator.records.kept_record import load_record, replace_record
from tests.support.worker_servers import PLAIN

FOLLOWED_S = 90.0
STORY = ("Tell me a story.", "--temperature", "0", "--max-tokens", "20")


@pytest.fixture
def laptop(cluster, make_cluster):
    """Another machine of the same cluster, which ran no `up` itself; call it to have it know."""
    with make_cluster() as other:
        other.name = cluster.name

        def copied():
            state = "state/pi-cluster"
            shutil.copytree(cluster.folder / state, other.folder / state, dirs_exist_ok=True)
            return other

        yield copied


def look(machine):
    with machine.environment():
        newer, _ = look_for_newer(load_record(machine.name), PLAIN)
        return newer


def follow(machine):
    """Look, and remember what was found."""
    newer = look(machine)
    assert newer is not None
    with machine.environment():
        replace_record(newer)
    return newer


def places(record):
    return [(stage.node_id, stage.address, stage.layers) for stage in record.addresses]


def test_another_plan_with_other_limits_is_followed_onto_nodes_that_were_never_met(cluster, laptop):
    cluster.up("--local", "2")
    other = laptop()
    expected = other.prompt(*STORY)["ids"]
    assert look(other) is None
    cluster.up("--local", "3", "--texts", "1")
    newer, made = follow(other), cluster.record()
    assert places(newer) == places(made) and len(newer.addresses) == 3
    assert (newer.epoch, newer.limits) == (made.epoch, made.limits)
    assert newer.stages == made.stages
    assert other.prompt(*STORY)["ids"] == expected
    assert look(other) is None


def test_a_question_and_an_answer_under_way_follow_by_themselves(cluster, laptop, endless):
    cluster.up("--local", "2")
    other = laptop()
    long = (*endless, "--max-tokens", "600")
    running = other.start("prompt", *long)
    running.read(50)
    cluster.up("--local", "3", "--texts", "2")
    outcome = running.end(FOLLOWED_S)
    assert outcome.code == 0, outcome
    cluster.up("--local", "1")  # the laptop hears of it by its next question
    asked = other.call("prompt", *long)
    assert asked.code == 0, asked
    assert outcome.out == asked.out == cluster.call("prompt", *long).out
    assert places(other.record()) == places(cluster.record())


def test_who_heals_at_once_with_another_asks_what_that_one_made(cluster, laptop, endless):
    """Both see the same node lost, and both may load: one pipeline comes of it."""
    workers = [cluster.start_worker(name) for name in ("one", "two", "three")]
    cluster.up("--nodes", ",".join(address for _, address in workers))
    other = laptop()
    long = (*endless, "--max-tokens", "600")
    expected = cluster.call("prompt", *long).out
    running = [machine.start("prompt", *long, "--wait", "60") for machine in (cluster, other)]
    running[0].read(50)
    workers[1][0].send(signal.SIGKILL)
    outcomes = [one.end(FOLLOWED_S) for one in running]
    assert [(one.code, one.out) for one in outcomes] == [(0, expected)] * 2, outcomes
    assert cluster.call("prompt", *long).out == other.call("prompt", *long).out == expected
    assert places(other.record()) == places(cluster.record())
    assert [stage.name for stage in cluster.record().addresses] == ["one", "three"]


def test_nodes_that_are_all_elsewhere_are_heard_where_they_are_now(cluster, laptop):
    cluster.up("--local", "2")
    other = laptop()
    assert cluster.run("down").code == 0
    cluster.up("--local", "2", "--texts", "2")
    newer = follow(other)
    assert places(newer) == places(cluster.record())
    assert other.prompt(*STORY)["ids"]


def test_a_pipeline_of_another_model_is_not_followed(cluster, laptop, random_store):
    cluster.up("--local", "2")
    other = laptop()
    cluster.up(str(random_store.path), "--local", "2")
    assert look(other) is None


def test_every_stage_tells_all_that_follows_from_its_place(cluster):
    cluster.up("--local", "3")
    record = cluster.record()
    nodes = ask_all([stage.peer for stage in record.addresses], PLAIN)
    earlier = replace(record, epoch=record.epoch - 1, stages=record.stages[:1])
    newer = followed(earlier, nodes)
    assert newer is not None and newer.stages == record.stages
    for node in nodes:
        beside = {one.node_id for one in node.about.stage.neighbours}
        assert beside == {s.node_id for s in record.addresses} - {node.about.node_id}
