"""Workers of ``up --local`` that are killed come back, and those that are told to leave do not."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from pi_cluster.deploy import supervisor
from pi_cluster.deploy.known_local_workers import find_supervisor, log_file
from tests.support.cluster_process import eventually, processes_of

MOST_UNIQUE_BYTES = 8 << 20  # measured: 4.4 MiB, most of it the interpreter's own
BACK_WITHIN_S = 30.0  # on a machine that does much else; alone it takes about one
GREEDY = ("--ids", "1,3,558,355,4", "--temperature", "0", "--max-tokens", "12")


@pytest.fixture(scope="module")
def pair(make_cluster):
    """Two workers that the tests of this module kill; each finds them up and supervised."""
    with make_cluster() as cluster:
        yield cluster


@pytest.fixture
def up(pair):
    pair.up("--local", "2")
    return pair


def data_dir(cluster, name):
    return cluster.folder / "data" / "pi-cluster" / cluster.name / name


def said_of(cluster, name):
    """What supervisors wrote into a worker's log."""
    with cluster.environment():
        lines = log_file(cluster.name, name).read_text().splitlines()
    return [line for line in lines if "WARNING supervisor" in line]


def comes_back(cluster, name, before):
    """Wait for another process that serves its stage."""
    eventually(
        lambda: {stage["node"]: stage["state"] for stage in cluster.status()["stages"]},
        lambda states: states[name] == "ready" and cluster.process_id(name) != before,
        BACK_WITHIN_S,
    )


def kill(cluster, name):
    process = cluster.signal_worker(name, signal.SIGKILL)
    process.wait(10)
    return process.pid


def test_a_killed_worker_is_back_at_the_same_address_with_its_stage(up):
    before, expected = up.status(), up.prompt(*GREEDY)["ids"]
    comes_back(up, "local-2", kill(up, "local-2"))
    assert [stage["address"] for stage in up.status()["stages"]] == [
        stage["address"] for stage in before["stages"]
    ]
    assert up.status()["epoch"] == before["epoch"]
    assert up.prompt(*GREEDY)["ids"] == expected


def test_an_answer_goes_on_when_a_local_worker_is_killed_and_its_record_stays(up, endless):
    asked = ("prompt", *endless, "--max-tokens", "400")
    expected = up.run(*asked).out
    running = up.start(*asked)
    running.read(20)
    kill(up, "local-1")
    outcome = running.end(90)
    assert (outcome.code, outcome.out) == (0, expected), outcome.err
    assert [one.name for one in up.record().addresses] == ["local-1", "local-2"]


def test_a_worker_that_is_told_to_leave_is_not_started_again(up):
    supervisor = psutil.Process(up.supervisor_id("local-1"))
    up.signal_worker("local-1", signal.SIGTERM).wait(10)
    supervisor.wait(10)
    assert find_supervisor(data_dir(up, "local-1")) is None
    assert "not running" in up.run("status").out


def test_down_and_an_up_with_fewer_workers_end_supervisors_too(up):
    up.up("--local", "1")
    assert find_supervisor(data_dir(up, "local-2")) is None
    assert len(processes_of(up.folder)) == 2
    assert "1 local worker stopped" in up.run("down").err
    assert not processes_of(up.folder)


def test_after_a_supervisor_was_killed_up_keeps_the_worker_and_has_it_supervised_again(up):
    process_id, epoch = up.process_id("local-2"), up.record().epoch
    old = psutil.Process(up.supervisor_id("local-2"))
    old.kill()
    old.wait(10)
    assert "already up" in up.up("--local", "2").err
    assert (up.process_id("local-2"), up.record().epoch) == (process_id, epoch)
    address = up.status()["stages"][1]["address"]
    comes_back(up, "local-2", kill(up, "local-2"))
    assert up.status()["stages"][1]["address"] == address
    assert "it was killed" in said_of(up, "local-2")[-1], "and the next one did not fail"


def test_one_without_a_supervisor_is_stopped_by_down_all_the_same(up):
    os.kill(up.supervisor_id("local-1"), signal.SIGKILL)
    assert "2 local workers stopped" in up.run("down").err
    assert not processes_of(up.folder)


def test_a_worker_that_ends_at_once_again_and_again_is_started_ever_later_and_the_log_says_so(
    cluster,
):
    cluster.up("--local", "1")
    process = cluster.signal_worker("local-1", signal.SIGKILL)
    identity = data_dir(cluster, "local-1") / "node.json"
    assert json.loads(identity.read_text())
    identity.write_text("no identity")  # so that it cannot start
    process.wait(10)
    told = eventually(lambda: said_of(cluster, "local-1"), lambda lines: len(lines) >= 4, 90)
    waits = [re.search(r"starting it again (.*)$", line).group(1) for line in told]
    assert waits[-3:] == ["in 0.5 s", "in 1 s", "in 2 s"], told
    assert "1 local worker stopped" in cluster.run("down").err
    assert not processes_of(cluster.folder)


def test_a_worker_that_never_was_ready_is_told_by_up_and_not_tried_again(cluster):
    cluster.up("--local", "1")
    cluster.kill_for_good("local-1")
    (data_dir(cluster, "local-1") / "node.json").write_text("no identity")
    refused = cluster.run("up", "--local", "1")
    assert refused.code == 1 and "local-1 did not start" in refused.err, refused
    assert not processes_of(cluster.folder) and not said_of(cluster, "local-1")


def test_a_supervisor_takes_little_memory(up):
    memory = psutil.Process(up.supervisor_id("local-1")).memory_full_info()
    assert memory.uss < MOST_UNIQUE_BYTES


# Is ready, and fails the first time.
_WORKER = """
import os, pathlib, sys
folder = pathlib.Path(sys.argv[1])
(folder / "lock").write_text(f"{os.getpid()} 127.0.0.1:1 node")
(folder / "starts").open("a").write("1")
sys.exit(1 if (folder / "starts").stat().st_size == 1 else 0)
"""


def test_a_full_disk_does_not_keep_a_worker_from_being_started_again(tmp_path):
    worker = [sys.executable, "-c", _WORKER, str(tmp_path), "--listen", "127.0.0.1:0"]
    words = [sys.executable, "-I", "-S", supervisor.__file__, str(tmp_path), "pi", *worker]
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(words, stdout=subprocess.DEVNULL, stderr=full, timeout=60)
    assert (ended.returncode, (tmp_path / "starts").read_text()) == (0, "11")
