"""What an operating system refuses is told as what it is: the file, the reason, the next step."""

import errno
import os
import re
import shutil
import subprocess
import sys

import pytest

from pi_cluster.cluster.errors import SystemFailure
from pi_cluster.cluster.system_failure import system_failure
from pi_cluster.cluster.wire.client import NodeClient
from pi_cluster.cluster.wire.peer import Peer
from tests.support.cluster_process import Outcome
from tests.support.worker_servers import PLAIN

ASK = ("prompt", "--ids", "1,5", "--max-tokens", "4", "--temperature", "0")
UNREADABLE = "/proc/self/mem"  # reading its first byte is an input/output error


def redirected(cluster, redirection, *words):
    """Run a command with a shell's redirection of its streams."""
    script = f'exec "$@" {redirection}'
    done = subprocess.run(
        ["bash", "-c", script, "bash", *cluster.words(*words)],
        env=cluster.env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


def assert_told(outcome, *parts, lines=1):
    assert outcome.code == 1, outcome
    assert outcome.err.startswith("error: ") and outcome.err.count("\n") == lines, outcome
    assert all(part in outcome.err for part in parts), outcome


REFUSING = pytest.mark.parametrize(
    ("redirection", "reason"),
    [(">/dev/full", "No space left on device"), (">&-", "Bad file descriptor")],
)


@pytest.mark.parametrize("words", [("--version",), ("--help",), ("status", "--json")])
@REFUSING
def test_an_answer_that_nobody_gets_is_a_failure_of_standard_output(
    story, words, redirection, reason
):
    outcome = redirected(story, redirection, *words)
    assert_told(outcome, f"cannot write to standard output: {reason}: ")


@REFUSING
def test_an_answer_that_nobody_got_is_kept_and_told_again(story, redirection, reason):
    expected = story.prompt(*ASK[1:])["text"]
    outcome = redirected(story, redirection, *ASK)
    kept = re.search("what was answered is kept, as ([0-9a-f]+): --resume", outcome.err)
    assert_told(outcome, f"cannot write to standard output: {reason}: ", kept[0], lines=2)
    assert story.run("prompt", "--resume", kept[1]).out == expected + "\n"


@pytest.mark.parametrize("redirection", ["2>/dev/full", "2>&-", "<&-"])
def test_an_answer_comes_also_where_notes_cannot_be_written(story, redirection):
    expected = story.prompt(*ASK[1:])["text"]
    outcome = redirected(story, redirection, *ASK, "--verbose")
    assert (outcome.code, outcome.out) == (0, expected + "\n"), outcome


def test_with_all_streams_closed_only_the_exit_code_tells(story):
    outcome = redirected(story, "<&- >&- 2>&-", *ASK)
    assert outcome == Outcome(1, "", "")


def test_what_is_printed_never_gets_into_a_file_that_took_the_number_of_a_closed_stream(
    story, tmp_path
):
    # With standard output closed, the next file that is opened would get its number.
    trace = tmp_path / "trace.json"
    words = ("bench", "--prompt-tokens", "8", "--gen-tokens", "2", "--repeat", "1")
    outcome = redirected(story, ">&-", *words, "--trace", str(trace))
    assert_told(outcome, "cannot write to standard output")
    assert not trace.exists() or trace.read_text().startswith("{")


@pytest.mark.parametrize("words", [("prompt", "-"), ("chat",)])
def test_a_closed_standard_input_is_named(story, words):
    assert_told(redirected(story, "<&-", *words), "standard input is closed")


def test_a_reader_that_has_seen_enough_ends_the_command_without_a_word(story):
    done = subprocess.run(
        ["bash", "-c", '"$@" | true; exit "${PIPESTATUS[0]}"', "bash", *story.words("--help")],
        env=story.env,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) in ((1, ""), (0, ""))


def test_a_user_without_a_home_is_told_what_to_set(cluster):
    for name in list(cluster.env):
        if name.startswith("XDG_") or name == "HOME":
            del cluster.env[name]
    if os.geteuid():
        pytest.skip("only root can be a user that is not in the list of users")
    words = ["setpriv", "--reuid", "54321", "--clear-groups", *cluster.words("status")]
    done = subprocess.run(words, env=cluster.env, capture_output=True, text=True, timeout=60)
    outcome = Outcome(done.returncode, done.stdout, done.stderr)
    assert_told(outcome, "no home folder", "set HOME", "XDG_STATE_HOME")


def test_a_file_where_a_folder_should_be_is_named(cluster, tmp_path):
    (tmp_path / "state").write_text("a file")
    cluster.env["XDG_STATE_HOME"] = str(tmp_path / "state")
    assert_told(cluster.run("up", "--local", "1"), f"{tmp_path}/state/pi-cluster", "no folder")


def test_over_long_names_are_named(cluster):
    long = "a" * 300
    assert_told(cluster.run("shard", f"/tmp/{long}", "--out", "x"), long, "a shorter name")
    outcome = cluster.run("worker", "--name", "a" * 65)
    assert outcome.code == 2 and "has 65 bytes; at most 64" in outcome.err, outcome
    outcome = cluster.run("worker", "--name", "a\nb")
    assert outcome.code == 2 and "no line breaks" in outcome.err, outcome


@pytest.fixture
def disk(cluster):
    """A disk of its own below the cluster's folder, and a way to mount it otherwise."""
    if os.geteuid() or not shutil.which("mount"):
        pytest.skip("mounting a disk needs root")
    folder = cluster.folder / "disk"
    folder.mkdir()

    def mount(options):
        subprocess.run(["mount", *options.split(), "none", str(folder)], check=True)

    mount("-t tmpfs -o size=90m")
    yield folder, mount
    cluster.stop_commands()
    subprocess.run(["umount", str(folder)], check=True)


def test_a_read_only_folder_of_the_operator_is_named(cluster, disk):
    folder, mount = disk
    cluster.env["XDG_STATE_HOME"] = str(folder)
    mount("-o remount,ro")
    assert_told(cluster.run("up", "--local", "1"), str(folder), "mounted read-only on this machine")


def start_worker_on(cluster, folder):
    running = cluster.start(
        *("worker", "--listen", "127.0.0.1:0", "--no-mdns", "--name", "pi7"),
        *("--data-dir", str(folder / "worker")),
    )
    ready, address, _ = running.read_line().split()
    assert ready == "ready"
    return running, address


def test_a_node_whose_card_turned_read_only_starts_and_every_command_names_it(cluster, disk):
    folder, mount = disk
    running, address = start_worker_on(cluster, folder)
    cluster.up("--nodes", address)
    running.stop()
    mount("-o remount,ro")
    running, address = start_worker_on(cluster, folder)
    outcome = cluster.run("up", "--nodes", address)
    assert outcome.code == 1 and "Traceback" not in running.error_text, outcome
    assert "pi7: " in outcome.err and "mounted read-only on pi7" in outcome.err, outcome
    with NodeClient(Peer(address), PLAIN) as node:
        about = node.describe()
    assert about.disk_problem == f"the disk of {folder}/worker/shards is mounted read-only"
    in_use = cluster.run("worker", "--no-mdns", "--data-dir", str(folder / "worker"))
    assert_told_in_log(in_use, "is in use by another worker")


def assert_told_in_log(outcome, *parts):
    """A worker's log holds more than the error."""
    assert outcome.code == 1 and "Traceback" not in outcome.err, outcome
    assert all(part in outcome.err for part in parts), outcome


def test_a_stage_that_the_card_no_longer_gives_does_not_keep_a_worker_from_starting(cluster):
    running, address = cluster.start_worker("one")
    cluster.up("--nodes", address)
    running.stop()
    stage = cluster.folder / "one" / "stage.pb"
    stage.unlink()
    stage.symlink_to(UNREADABLE)
    running, address = cluster.start_worker("one")
    with NodeClient(Peer(address), PLAIN) as node:
        assert not node.describe().HasField("stage")
    assert "Input/output error" in running.error_text


def test_a_worker_that_cannot_read_who_it_is_says_why(cluster):
    data_dir = cluster.folder / "one"
    data_dir.mkdir()
    (data_dir / "node.json").symlink_to(UNREADABLE)
    words = ("--no-mdns", "--listen", "127.0.0.1:0", "--data-dir", str(data_dir))
    told = cluster.run("worker", *words)
    assert_told_in_log(told, "node.json", "Input/output error", "replace the SD card")
    alone = subprocess.run(
        [sys.executable, "-m", "pi_cluster.worker", *words],
        env=cluster.env,
        capture_output=True,
        text=True,
    )
    assert_told_in_log(Outcome(alone.returncode, alone.stdout, alone.stderr), "replace the SD card")


def test_a_full_card_is_named_with_its_node(cluster):
    """The node may write no file beyond 1000 bytes, which to it is as if the disk were full."""
    data_dir = str(cluster.folder / "one")
    worker = cluster.words("worker", "--listen", "127.0.0.1:0", "--no-mdns", "--name", "pi7")
    words = ["bash", "-c", 'ulimit -f 1; trap "" XFSZ; exec "$@"', "bash", *worker]
    running = cluster.start_program([*words, "--data-dir", data_dir])
    address = running.read_line().split()[1]
    outcome = cluster.run("up", "--nodes", address)
    assert outcome.code == 1 and "pi7: cannot write " in outcome.err, outcome
    assert "File too large" in outcome.err and "Make room" in outcome.err


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO, errno.ENOMEM])
def test_the_machine_that_refused_is_named_in_the_next_step(number):
    told = system_failure(OSError(number, os.strerror(number), "/var/lib/x"), "pi2")
    assert isinstance(told, SystemFailure)
    assert str(told).startswith(f"/var/lib/x: {os.strerror(number)}: ") and "pi2" in str(told)


def test_no_refusal_is_without_a_next_step():
    for number in errno.errorcode:
        told = str(system_failure(OSError(number, os.strerror(number))))
        assert told.startswith(os.strerror(number) + ": ") and len(told.split(": ")[-1]) > 10
