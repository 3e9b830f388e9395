"""What owners of Pis measure with, in its shortest form, on real workers of this machine."""

import json
import signal
import sys
from pathlib import Path

import pytest

from tests.support.cluster_process import eventually

ROOT = Path(__file__).parents[2]
_MOST_S = 150.0


@pytest.fixture
def pair(cluster):
    """The embedded model on two workers, which nobody else uses."""
    cluster.up("--local", "2")
    return cluster


def measuring(cluster, *words):
    """The command, quickly; its JSON goes into the cluster's folder."""
    command = [sys.executable, "-m", "benchmarks.on_pi", "--quick", "--cluster", cluster.name]
    command += ["--out", str(cluster.folder / "out.json"), *words]
    cluster.env["PYTHONPATH"] = str(ROOT)
    return cluster.start_program(command)


def found(cluster):
    return json.loads((cluster.folder / "out.json").read_text())


def rounds_of(markdown):
    lines = markdown[markdown.index("| nodes |") :].splitlines()[2:]
    rows = [line.split("|")[1:-1] for line in lines if line.startswith("|")]
    return {int(row[0]): [cell.strip() for cell in row[1:]] for row in rows}


def are_as_before(cluster):
    stages = cluster.status()["stages"]
    nodes = sorted(stage["node"] for stage in stages)
    return nodes == ["local-1", "local-2"] and all(stage["state"] == "ready" for stage in stages)


def test_two_nodes_and_one_are_measured_and_left_as_they_were(pair):
    before = pair.record()
    outcome = measuring(pair).end(_MOST_S)
    assert outcome.code == 0, outcome
    rows = rounds_of(outcome.out)
    assert list(rows) == [2, 1]
    assert (rows[2][0].count("+"), rows[1][0]) == (1, "32")
    assert "TRIAL" in outcome.out and "the embedded storyteller: 32 layers" in outcome.out
    assert "FAULT" not in outcome.out and "127.0.0.1" not in outcome.out
    values = found(pair)
    assert [one["nodes"] for one in values["rounds"]] == [2, 1]
    for one in values["rounds"]:
        assert one["prefill"]["tokens_ps"] > 0 and not one["is_failure"]
        kinds = [(decode["users"], decode["drafts"]) for decode in one["decodes"]]
        assert kinds == [(1, False), (1, True), (4, False), (4, True)]
        assert all(decode["tokens"] >= decode["users"] for decode in one["decodes"])
        assert one["decodes"][0]["tokens_ps"] > 0
    assert len(values["boards"]) == 2 and len(values["ways"]) == 3
    assert are_as_before(pair)
    assert pair.record().call == before.call


def test_ctrl_c_keeps_what_was_measured_and_brings_all_nodes_back(pair):
    running = measuring(pair)
    note = "1 node: decode, 1 user, without drafts"
    eventually(lambda: running.error_text, lambda told: note in told, _MOST_S)
    running.send(signal.SIGINT)
    outcome = running.end(_MOST_S)
    assert outcome.code == 130 and "Traceback" not in outcome.err
    assert outcome.out.rstrip().endswith("- interrupted")
    assert rounds_of(outcome.out)[1][1].endswith("(of 64)")
    values = found(pair)
    assert len(values["rounds"][0]["decodes"]) == 4 and values["remarks"] == ["interrupted"]
    assert are_as_before(pair)


def test_without_a_pipeline_it_says_how_one_comes_up(cluster):
    outcome = measuring(cluster).end(_MOST_S)
    assert outcome.code == 1 and outcome.out == ""
    assert "pi-cluster up" in outcome.err and "Traceback" not in outcome.err
    assert not (cluster.folder / "out.json").exists()
