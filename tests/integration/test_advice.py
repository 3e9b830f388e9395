"""What a message tells people to run is run, exactly as it was printed, in that very state."""

import re
import shlex
import shutil
import signal
import subprocess
from unittest import mock

import pytest

from pi_cluster.cluster import settings
from pi_cluster.cluster.trust.authority import ClusterAuthority
from pi_cluster.deploy.known_local_workers import log_file
from tests.support.authorities import certify_node
from tests.support.checkpoints import small_config, write_hugging_face_checkpoint
from tests.support.cluster_process import COMMAND, Cluster, processes_of
from tests.support.preloads import JumpingClock, clock_library, firewall
from tests.support.stores import shard

pytestmark = pytest.mark.timeout(240)

ASK = ("prompt", "--ids", "1,5,7", "--temperature", "0", "--max-tokens", "4")


def advised(text):
    """The commands in a message: between backquotes, or after a colon up to the line's end."""
    quoted = re.findall(r"`(pi-cluster [^`]+)`", text)
    return quoted or re.findall(r": (pi-cluster .+)$", text, re.MULTILINE)


def follow(cluster, text, which=-1):
    """Run one of the commands that a message holds, as it stands there."""
    words = shlex.split(advised(text)[which])
    assert words[0] == "pi-cluster"
    return cluster.start_program([str(COMMAND), *words[1:]]).end(timeout_s=120)


def answers(cluster):
    outcome = cluster.run(*ASK)
    return (outcome.code, outcome.err) == (0, "")


def kill_workers(cluster, *names):
    for name in names:
        cluster.kill_for_good(name)


def start_worker(cluster, name, listen="127.0.0.1:0", env=None):
    """A worker by hand, in another world than the rest if need be; returns its address too."""
    words = ("worker", "--listen", listen, "--no-mdns", "--name", name)
    with mock.patch.dict(cluster.env, env or {}):
        running = cluster.start_program(
            cluster.words(*words, "--data-dir", str(cluster.folder / name))
        )
    ready, address, _ = running.read_line().split()
    assert ready == "ready"
    return running, address


def test_one_of_three_local_workers_is_started_again_by_what_status_and_prompt_say(cluster):
    cluster.up("--local", "3")
    kill_workers(cluster, "local-2")
    up = f"pi-cluster up --local 3 --cluster {cluster.name}"
    status = cluster.run("status")
    assert status.code == 1 and "not running" in status.out and "lost" not in status.out
    assert advised(status.err) == [up]
    with cluster.environment():
        assert str(log_file(cluster.name, "local-2")) in status.err
    asked = cluster.run(*ASK, "--heal-timeout", "0")
    assert asked.code == 1 and "local-2" in asked.err and up in advised(asked.err)
    followed = follow(cluster, asked.err)
    assert followed.code == 0 and "ready: 3 stages" in followed.err
    assert answers(cluster) and cluster.run("status").code == 0


def test_the_doctor_does_not_send_anybody_to_this_machine_over_ssh(cluster):
    cluster.up("--local", "2")
    kill_workers(cluster, "local-1")
    findings = cluster.call("doctor", "--json").out
    assert "local-1.log" in findings and "ssh 127" not in findings and "systemctl" not in findings
    to_do = re.findall(r'"to_do": "(its worker does not run[^"]*)"', findings)
    assert to_do == [next(iter(to_do))]
    assert f"pi-cluster up --local 2 --cluster {cluster.name}" in to_do[0]


def test_after_a_reboot_a_plain_up_brings_back_model_limits_and_local_workers(
    cluster, random_store
):
    cluster.up(str(random_store.path), "--local", "2", "--texts", "2", "--objective", "latency")
    before = cluster.record()
    kill_workers(cluster, "local-1", "local-2")
    asked = cluster.run(*ASK)
    assert asked.code == 1 and "not running" in asked.err
    assert cluster.up().err.count("ready:") == 1
    after = cluster.record()
    assert after.manifest.digest == random_store.manifest.digest
    assert (after.call, after.limits, after.objective) == (
        *(before.call, before.limits, before.objective),
    )
    assert answers(cluster)
    kill_workers(cluster, "local-1", "local-2")
    assert follow(cluster, cluster.run(*ASK).err).code == 0
    assert cluster.record().call == before.call and answers(cluster)


def test_down_says_how_the_same_comes_up_again_and_forgets_it(cluster, random_store):
    cluster.up(str(random_store.path), "--local", "1", "--texts", "3")
    down = cluster.run("down")
    assert "to bring the same up again" in down.err
    asked = cluster.run(*ASK)
    assert "no pipeline is up" in asked.err
    assert follow(cluster, asked.err, which=0).code == 0
    assert cluster.record().manifest.digest != random_store.manifest.digest
    assert follow(cluster, down.err).code == 0
    record = cluster.record()
    assert record.manifest.digest == random_store.manifest.digest and record.call.texts == 3


def test_a_store_that_is_gone_is_named_instead_of_being_replaced_by_the_storyteller(
    cluster, random_store, tmp_path
):
    store = shutil.copytree(random_store.path, tmp_path / "a store")
    cluster.up(str(store), "--local", "1")
    elsewhere = store.rename(tmp_path / "moved")
    refused = cluster.run("up")
    assert refused.code == 1 and "the model that is up came from" in refused.err
    assert answers(cluster)
    assert "already up" in cluster.up(str(elsewhere)).err
    assert cluster.record().call.model == str(elsewhere)


def test_where_no_worker_is_found_the_advice_makes_some(cluster):
    refused = cluster.run("up")
    assert refused.code == 1 and "no certificates" in refused.err
    assert follow(cluster, refused.err).code == 0
    assert answers(cluster)


def test_a_machine_without_a_network_is_told_so_before_nodes_are_asked_for(cluster):
    alone = ["unshare", "-rn", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
    if subprocess.run([*alone, "true"], capture_output=True).returncode:
        pytest.skip("this system does not let a user have a network of his own")
    refused = cluster.start_program([*alone, *cluster.words("up")]).end()
    assert refused.code == 1 and "this machine has no network" in refused.err
    words = shlex.split(advised(refused.err)[-1])
    there = [*alone, str(COMMAND), *words[1:]]
    assert cluster.start_program(there).end(timeout_s=120).code == 0


def test_a_record_that_was_torn_is_told_of_and_the_named_model_comes_up(cluster, random_store):
    cluster.up(str(random_store.path), "--local", "1")
    (cluster.record().folder / "pipeline.json").write_text("{")
    asked = cluster.run(*ASK)
    assert asked.code == 1 and "cannot be read" in asked.err and "MODEL" in asked.err
    again = cluster.up(str(random_store.path), "--local", "1")
    assert "warning" in again.err and answers(cluster)


def test_a_pipeline_that_somebody_else_replaced_is_taken_back_by_what_the_error_says(
    cluster, integration_folder, random_store
):
    nodes = ",".join(start_worker(cluster, name)[1] for name in ("one", "two"))
    cluster.up("--nodes", nodes)
    other = Cluster(cluster.folder / "other", integration_folder / "cache")
    other.name = cluster.name
    other.folder.mkdir()
    other.up(str(random_store.path), "--nodes", nodes)
    asked = cluster.run(*ASK)
    assert asked.code == 1 and "ask again" not in asked.err
    assert "one serves another model since: another `up` has replaced the pipeline" in asked.err
    assert advised(asked.err) == [f"pi-cluster up --cluster {cluster.name}"]
    followed = follow(cluster, asked.err)
    assert followed.code == 0 and answers(cluster)


def test_a_full_disk_here_is_noticed_before_the_nodes_let_go_of_what_they_serve(cluster):
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode:
        pytest.skip("this system does not let a user mount a small disk of his own")
    cluster.up("--local", "1")
    epoch = cluster.record().epoch
    state = cluster.folder / "state"
    # A disk with what is there, and full but for a page.
    script = (
        'cp -a "$1" "$2" && mount -t tmpfs -o size=1m none "$1" && cp -a "$2/." "$1" && '
        '{ cat /dev/zero > "$1/filler"; true; } 2> "$2/full" && shift 2 && exec "$@"'
    )
    folders = (str(state), str(cluster.folder / "copy"))
    words = cluster.words("up", "--local", "1", "--texts", "1")
    full = cluster.start_program(["unshare", "-rm", "sh", "-c", script, "sh", *folders, *words])
    full = full.end(timeout_s=120)
    assert full.code == 1 and "No space left" in full.err and "ready" not in full.err, full
    assert answers(cluster) and cluster.status()["epoch"] == epoch


def test_a_tokenizer_that_was_torn_here_is_written_anew_by_what_the_error_says(cluster):
    cluster.up("--local", "1")
    record = cluster.record()
    name = next(file.name for file in record.manifest.tokenizer_files)
    (record.folder / name).unlink()
    asked = cluster.run("prompt", "Hello", "--max-tokens", "4")
    assert asked.code == 1 and name in asked.err
    assert follow(cluster, asked.err).code == 0
    assert cluster.run("prompt", "Hello", "--max-tokens", "4").code == 0


def test_a_larger_context_is_advised_as_far_as_the_model_has_it(cluster, tmp_path):
    config = small_config(n_layers=3, window=None, max_positions=20)
    write_hugging_face_checkpoint(tmp_path / "checkpoint", config)
    shard(tmp_path / "checkpoint", tmp_path / "store", "f32")
    cluster.up(str(tmp_path / "store"), "--local", "1", "--context", "9")
    long = ("prompt", "--ids", ",".join(["1"] * 12), "--max-tokens", "2")
    refused = cluster.run(*long)
    assert refused.code == 1 and "the pipeline's context is 9" in refused.err
    assert follow(cluster, refused.err).code == 0
    assert cluster.run(*long).code == 0 and cluster.record().call.model == str(tmp_path / "store")
    cluster.up("--context", "999")
    too_long = cluster.run("prompt", "--ids", ",".join(["1"] * 30))
    assert too_long.code == 1 and "was made for" in too_long.err
    assert not advised(too_long.err)


def test_up_tells_that_one_node_cannot_reach_the_next_and_status_does_not_say_ready(
    cluster, tmp_path
):
    closed = tmp_path / "closed"
    _, one = start_worker(cluster, "one", env=firewall(tmp_path, closed))
    _, two = start_worker(cluster, "two")
    cluster.up("--nodes", f"{one},{two}")
    closed.write_text(two.rpartition(":")[2])
    status = cluster.status()
    assert [stage["state"] for stage in status["stages"]] == ["cannot reach the next", "ready"]
    assert f"two ({two})" in status["stages"][0]["error"]
    shown = cluster.run("status")
    assert shown.code == 1 and "one: it cannot reach two" in shown.err
    again = cluster.run("up", "--nodes", f"{one},{two}")
    assert again.code == 1 and "no token goes round" in again.err
    assert "already up" not in again.err and "one: it cannot reach two" in again.err
    closed.unlink()
    assert answers(cluster), "what that `up` loaded is whole, and is found"
    assert cluster.run("status").code == 0


def test_up_says_who_holds_a_pipeline_that_it_finds_busy(story, endless):
    asking = story.start("prompt", *endless, "--max-tokens", "100000")
    asking.read(1)
    outcome = story.up("--local", "3")
    assert "already up: nothing to move; it is held by" in outcome.err
    assert asking.process.poll() is None
    asking.stop()


@pytest.mark.parametrize("late", ["one", "two"])
def test_a_node_that_lives_in_1970_is_told_by_its_clock(cluster, tmp_path, late):
    assert cluster.run("init").code == 0
    with cluster.environment():
        authority = ClusterAuthority(settings.cluster_config(cluster.name), cluster.name)
    for name in ("one", "two"):
        certify_node(authority, cluster.folder / name, name)
    started = {name: start_worker(cluster, name) for name in ("one", "two")}
    cluster.up("--nodes", ",".join(address for _, address in started.values()))
    running, address = started[late]
    running.send(signal.SIGTERM)
    assert running.end().code == 0
    library, offset = clock_library(tmp_path), tmp_path / "clock"
    earlier = JumpingClock(library, offset, offset_s=-56 * 365 * 86_400)
    past, _ = start_worker(cluster, late, address, earlier.env)
    status = cluster.run("status")
    assert status.code == 1 and "lost" not in status.out and "clock" in status.err
    asked = cluster.run(*ASK)
    assert asked.code == 1 and "clock" in asked.err and late in asked.err
    past.send(signal.SIGTERM)
    past.end()
    start_worker(cluster, late, address)
    assert cluster.up("--nodes", ",".join(address for _, address in started.values())).code == 0
    assert answers(cluster)


def test_whoever_has_a_grant_is_sent_to_the_operator_whose_command_helps(
    cluster, integration_folder
):
    assert cluster.run("init").code == 0
    cluster.up("--local", "1")
    grant = str(cluster.folder / "grant")
    assert cluster.run("grant", "laptop", "--out", grant).code == 0
    laptop = Cluster(cluster.folder / "laptop", integration_folder / "cache")
    laptop.name = cluster.name
    laptop.folder.mkdir()
    with laptop:
        accepted = laptop.run("accept", grant)
        assert accepted.code == 0
        assert follow(laptop, accepted.err).code == 0
        kill_workers(cluster, "local-1")
        asked = laptop.run(*ASK)
        assert asked.code == 1 and "operator runs" in asked.err
    assert follow(cluster, asked.err).code == 0
    assert answers(cluster)
    assert len(processes_of(cluster.folder)) == 2  # a worker and its supervisor


def test_a_pipeline_of_before_init_is_brought_back_with_certificates(cluster):
    cluster.up("--local", "1", "--insecure")
    assert cluster.run("init").code == 0
    asked = cluster.run(*ASK)
    assert asked.code == 1 and "--insecure" not in asked.err
    assert cluster.up().code == 0
    assert answers(cluster)
