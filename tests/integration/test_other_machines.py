"""An operator's machine without the compiled library, and one that is no Linux: all but a worker.

What Linux has alone is hidden from real processes; the workers run beside them as they are.
"""

import json
import signal
import socket
from pathlib import Path

import pytest

from pi_cluster.deploy.embedded import embedded_store
from tests.support.checkpoints import small_config, write_hugging_face_checkpoint
from tests.support.cluster_process import Cluster
from tests.support.other_machines import MAC, NO_KERNELS, operator_on

pytestmark = pytest.mark.timeout(240)
SLOW_S = 120.0


@pytest.fixture(scope="module")
def operated(integration_folder):
    """A pipeline that was brought up from a Mac, on two workers that run Linux."""
    folder = integration_folder / "mac"
    folder.mkdir()
    with Cluster(folder, folder / "cache") as fresh:
        addresses = [fresh.start_worker(name)[1] for name in ("pi1", "pi2")]
        with operator_on(fresh, MAC):
            plan = fresh.run("plan", "--nodes", ",".join(addresses), timeout_s=SLOW_S)
            assert plan.code == 0 and "pi1" in plan.out + plan.err, plan
            up = fresh.run("up", "--nodes", ",".join(addresses), timeout_s=SLOW_S)
            assert up.code == 0 and "ready: 2 stages" in up.err, up
            yield fresh


def test_the_embedded_model_is_the_one_that_kernels_pack(operated, make_cluster):
    def files(cluster):
        (manifest,) = Path(cluster.env["XDG_CACHE_HOME"]).glob("*/storyteller-*/manifest.json")
        return json.loads(manifest.read_text())["files"]

    with make_cluster() as usual:
        with usual.environment():
            embedded_store()
        assert files(operated) == files(usual)


def test_the_pipeline_answers_as_it_answers_an_operator_on_linux(operated):
    words = ("prompt", "--json", "--temperature", "0", "--max-tokens", "30", "Who are you?")
    from_mac = operated.run(*words, timeout_s=SLOW_S).json()
    with operator_on(operated, ""):
        from_linux = operated.run(*words, timeout_s=SLOW_S).json()
    assert from_mac["ids"] == from_linux["ids"] and len(from_mac["ids"]) > 1
    words = ("chat", "--temperature", "0")
    chat = operated.run(*words, stdin=b"Who are you?\n", timeout_s=SLOW_S)
    assert chat.code == 0 and chat.out.strip(), chat


def test_status_and_doctor_tell_of_the_nodes(operated):
    status = operated.run("status", "--json", timeout_s=SLOW_S).json()
    assert {stage["node"] for stage in status["stages"]} == {"pi1", "pi2"}
    doctor = operated.run("doctor", "--json", timeout_s=SLOW_S)
    found = json.loads(doctor.out)
    assert [node["error"] for node in found["nodes"]] == [None, None], doctor
    assert "internal error" not in doctor.err


def test_status_goes_on_until_ctrl_c(operated):
    watching = operated.start("status", "--watch", "--interval", "0.2")
    watching.read_lines(3)
    watching.send(signal.SIGINT)
    outcome = watching.end()
    assert outcome.code == 130 and "Traceback" not in outcome.err, outcome


def test_hosts_are_tried_over_ssh_as_far_as_that_goes(cluster):
    with operator_on(cluster, MAC), socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        assert cluster.run("init", timeout_s=SLOW_S).code == 0
        words = ("up", "--hosts", f"nobody@127.0.0.1:{closed.getsockname()[1]}")
        outcome = cluster.run(*words, timeout_s=SLOW_S)
    assert outcome.code == 1 and "Traceback" not in outcome.err, outcome
    assert "it refuses connections on port" in outcome.err, outcome


@pytest.mark.parametrize("weights", ["q4", "q4n", "q8"])
def test_a_checkpoint_becomes_the_same_store(cluster, tmp_path, weights):
    write_hugging_face_checkpoint(tmp_path / "checkpoint", small_config())

    def sharded(name):
        words = ("shard", str(tmp_path / "checkpoint"), "--out", str(tmp_path / name))
        outcome = cluster.run(*words, "--weights", weights, timeout_s=SLOW_S)
        assert outcome.code == 0, outcome
        files = {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}
        return outcome.err, files

    said, files = sharded("with")
    assert "no compiled kernels" not in said
    with operator_on(cluster, MAC):
        said, same = sharded("without")
    assert "note: no compiled kernels here" in said
    assert same == files


@pytest.mark.parametrize(
    ("hidden", "why"),
    [(MAC, "a worker needs Linux, and this is Darwin"), (NO_KERNELS, "apt install gcc")],
)
@pytest.mark.parametrize(
    "words",
    [("worker", "--no-mdns"), ("join", "a token"), ("up", "--local", "2")],
    ids=lambda w: w[0],
)
def test_a_worker_is_refused_before_anything_is_done(make_cluster, hidden, why, words):
    with make_cluster(measured=False) as cluster, operator_on(cluster, hidden):
        outcome = cluster.run(*words, timeout_s=SLOW_S)
    assert outcome.code == 1 and outcome.err.startswith("error: "), outcome
    assert why in outcome.err, outcome
    assert not list(cluster.folder.iterdir())
