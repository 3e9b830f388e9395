"""A worker that was switched off comes back with what it served."""

import ctypes
import platform
import signal
from pathlib import Path

import pytest

from pi_cluster.cluster.wire.client import NodeClient
from pi_cluster.cluster.wire.peer import Peer
from tests.support.cluster_process import describe_all
from tests.support.worker_servers import PLAIN

PROMPT = ("--temperature", "0", "--max-tokens", "16", "Tell me a story.")


@pytest.fixture
def started(cluster):
    """A pipeline over two workers that were started by hand, with their command lines."""
    workers = [cluster.start_worker(name) for name in ("one", "two")]
    cluster.up("--nodes", ",".join(address for _, address in workers))
    return workers


def start_again(cluster, name, address):
    """The same worker at the same address."""
    words = ("--listen", address, "--no-mdns", "--name", name)
    running = cluster.start("worker", *words, "--data-dir", str(cluster.folder / name))
    line = running.read_line()
    assert line.startswith("ready "), line
    return running


def kill(running):
    running.send(signal.SIGKILL)
    running.process.wait()


def test_a_killed_worker_returns_with_its_stage_and_the_answer_is_the_same(cluster, started):
    before = cluster.prompt(*PROMPT)
    for name, (running, address) in zip(("one", "two"), started, strict=True):
        kill(running)
        start_again(cluster, name, address)
        assert cluster.prompt(*PROMPT)["ids"] == before["ids"]


def test_up_again_finds_a_returned_worker_as_it_should_be(cluster, started):
    (running, address), (_, other) = started
    kill(running)
    start_again(cluster, "one", address)
    assert "already up" in cluster.up("--nodes", f"{address},{other}").err


def test_after_down_a_worker_returns_with_nothing(cluster, started):
    record = cluster.record()
    assert cluster.run("down").code == 0
    running, address = started[0]
    kill(running)
    start_again(cluster, "one", address)
    assert [about.HasField("stage") for about in describe_all(record)] == [False, False]


@pytest.mark.parametrize("damage", [b"", b"\xff" * 100, b"x" * 3_000_000])
def test_a_worker_whose_memory_of_its_stage_is_damaged_starts_with_nothing(
    cluster, started, damage
):
    record = cluster.record()
    running, address = started[0]
    kill(running)
    (cluster.folder / "one" / "stage.pb").write_bytes(damage)
    again = start_again(cluster, "one", address)
    assert [about.HasField("stage") for about in describe_all(record)] == [False, True]
    assert "starting empty" in again.error_text


def test_a_worker_that_lost_a_shard_starts_with_nothing_and_up_mends_it(cluster, started):
    record = cluster.record()
    running, address = started[0]
    kill(running)
    next((cluster.folder / "one" / "shards").iterdir()).unlink()
    again = start_again(cluster, "one", address)
    assert [about.HasField("stage") for about in describe_all(record)] == [False, True]
    assert "starting empty" in again.error_text
    cluster.up("--nodes", f"{address},{started[1][1]}")
    assert [about.HasField("stage") for about in describe_all(record)] == [True, True]


def test_what_a_worker_was_receiving_of_the_next_store_is_there_when_it_returns(
    cluster, started, random_store
):
    running, address = started[0]
    whole, broken_off = random_store.manifest.files[:2]
    with NodeClient(Peer(address), PLAIN) as client:
        client.put_shard(whole, random_store.path_of(whole), 0, lambda _: None)
    kill(running)
    data = random_store.path_of(broken_off).read_bytes()[:1000]
    (cluster.folder / "one" / "shards" / f"{broken_off.sha256}.partial").write_bytes(data)
    start_again(cluster, "one", address)
    with NodeClient(Peer(address), PLAIN) as client:
        assert client.describe().HasField("stage")
        found = client.find_shards([whole, broken_off])
    assert (found.held, found.partial) == ({whole.sha256}, {broken_off.sha256: 1000})


TGKILL = {"x86_64": 234, "aarch64": 131}[platform.machine()]  # no function of Python's has it


def test_a_worker_stops_also_when_another_thread_takes_the_signal(cluster):
    """As after a stop, when the kernel may hand a signal to any thread: here to gRPC's timer."""
    running, _ = cluster.start_worker("one")
    process_id = running.process.pid
    names = {
        task: (task / "comm").read_text() for task in Path(f"/proc/{process_id}/task").iterdir()
    }
    timer = next(
        int(task.name) for task, name in names.items() if name.startswith("grpc_global_ti")
    )
    assert ctypes.CDLL(None).syscall(TGKILL, process_id, timer, signal.SIGTERM) == 0
    assert running.end().code == 0
