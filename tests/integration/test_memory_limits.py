"""A worker in a control group whose memory runs out: it sheds, refuses, lives, and answers right.

Beside it in its group a neighbour takes memory; Linux kills there what goes beyond the limit.
"""

import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from pi_cluster.cluster import settings
from pi_cluster.coordinator.client import PipelineClient
from pi_cluster.worker.machine import memory_pressure
from tests.support.checkpoints import small_config, write_hugging_face_checkpoint
from tests.support.cluster_process import describe_all, eventually
from tests.support.measured_nodes import remember_speed_by_hand
from tests.support.serving import prompt_of
from tests.support.stores import shard
from tests.testbed.control_groups import control_groups

MIB = 1 << 20
LIMIT = 400 * MIB
LEAST = 20 * MIB  # a twentieth: what a worker wants to have left

PROMPTS = [prompt_of(seed, 900) for seed in range(3)]

# Holds as many MiB as its last line says, and says when it does.
_NEIGHBOUR = """
import sys
held = []
for line in sys.stdin:
    count = int(line)
    del held[count:]
    while len(held) < count:
        held.append(bytearray(b"x") * (1 << 20))
    print(count, flush=True)
"""


class Group:
    """A control group with a memory limit."""

    def __init__(self, folder):
        self.folder = folder
        self._is_v1 = (folder / "memory.limit_in_bytes").exists()
        (folder / ("memory.limit_in_bytes" if self._is_v1 else "memory.max")).write_text(str(LIMIT))

    def words(self, words):
        """A command line that joins the group first."""
        join = f'echo $$ > {self.folder / "cgroup.procs"} && exec "$@"'
        return ["sh", "-c", join, "sh", *words]

    @property
    def left(self):
        """Bytes until somebody is killed."""
        names = ("usage_in_bytes", "total_") if self._is_v1 else ("current", "")
        used = int((self.folder / f"memory.{names[0]}").read_text())
        counters = memory_pressure.read_counters(self.folder / "memory.stat")
        kinds = ("active_file", "inactive_file")
        return LIMIT - used + sum(counters[names[1] + kind] for kind in kinds)

    @property
    def kills(self):
        """Processes of the group that Linux has killed."""
        file = "memory.oom_control" if self._is_v1 else "memory.events"
        return memory_pressure.read_counters(self.folder / file)["oom_kill"]


@pytest.fixture
def group(cluster):
    """One for processes of the cluster."""
    try:
        with control_groups("memory") as groups:
            names = ("memory.limit_in_bytes", "memory.max")
            found = [one for one in groups if any((one / name).exists() for name in names)]
            if not found:
                pytest.skip("control groups here bound no memory")
            yield Group(found[0])
            cluster.stop_commands()
    except OSError as error:
        if not isinstance(error, PermissionError) and os.geteuid() == 0:
            raise
        pytest.skip(f"control groups cannot be made here: {error}")


class Neighbour:
    """A program that takes memory of the worker's group."""

    def __init__(self, cluster, group):
        self._group = group
        self._running = cluster.start_program(group.words([sys.executable, "-c", _NEIGHBOUR]))
        self._told = 0
        self._held = 0

    def leave(self, mib):
        """Take or give back memory until so much is left in the group."""
        self._hold(max(0, self._held + self._group.left // MIB - mib))

    def give_back(self):
        """Hold nothing."""
        self._hold(0)

    def _hold(self, mib):
        self._held = mib
        self._running.stdin.write(f"{mib}\n".encode())
        self._running.stdin.flush()
        self._told += 1
        self._running.read_lines(self._told)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Next to no weights, and caches of 16 KiB a position and layer."""
    folder = tmp_path_factory.mktemp("wide")
    config = small_config(
        n_layers=6, n_heads=16, n_kv_heads=16, head_dim=256, window=None, max_positions=1500
    )
    write_hugging_face_checkpoint(folder / "checkpoint", config)
    shard(folder / "checkpoint", folder / "store", "q4")
    return folder / "store"


@pytest.fixture
def pressed(cluster, group, store):
    """Two workers of which the second lies in the group, its process, and its neighbour."""
    _, one = cluster.start_worker("one")
    data_dir = cluster.folder / "two"
    remember_speed_by_hand(data_dir, (), cluster.env)
    words = ("worker", "--listen", "127.0.0.1:0", "--no-mdns", "--name", "two")
    worker = cluster.start_program(group.words(cluster.words(*words, "--data-dir", str(data_dir))))
    _, two, _ = worker.read_line().split()
    cluster.up(str(store), "--nodes", f"{one},{two}", "--texts", "4", "--context", "1500")
    return worker.process, Neighbour(cluster, group)


@contextmanager
def connected(cluster, notices):
    """A client that adds what people are told to ``notices``."""
    with (
        cluster.environment(),
        PipelineClient.connect(cluster.name, on_notice=notices.append) as client,
    ):
        yield client


def ask(client, prompt):
    """The ids of a short answer to a long prompt."""
    return client.ask(prompt, max_tokens=20, temperature=0).ids


def second_node(cluster):
    """What it tells."""
    return describe_all(cluster.record())[1]


def of_memory(notices):
    """Those about it; on a busy machine others tell that a stage takes long."""
    return [one for one in notices if " memory" in one]


def events(cluster):
    """Those about memory that were written down."""
    with cluster.environment():
        file = settings.cluster_state(cluster.name) / "events.jsonl"
    known = [json.loads(line) for line in file.read_text().splitlines()]
    return [event for event in known if event["kind"] == "memory_short"]


def test_texts_kept_for_reuse_are_let_go_before_memory_runs_out(cluster, group, pressed):
    worker, neighbour = pressed
    notices = []
    with connected(cluster, notices) as client:
        before = [ask(client, prompt) for prompt in PROMPTS]
        kept = second_node(cluster).stage.cache_bytes
        assert kept > LEAST
        neighbour.leave(LEAST // MIB - 6)
        eventually(lambda: second_node(cluster).stage.sequences, lambda count: not count)
        eventually(lambda: group.left, lambda left: left > kept)
        eventually(lambda: of_memory(notices), lambda told: len(told) >= 2)
        assert [event["said"] for event in events(cluster)][:2] == of_memory(notices)[:2]
        assert [ask(client, prompt) for prompt in PROMPTS] == before
    assert "two is short of memory: " in of_memory(notices)[0]
    assert "two has memory to spare again, after " in of_memory(notices)[1]
    assert (worker.poll(), group.kills) == (None, 0)


def test_texts_that_need_more_than_there_is_are_all_answered_one_after_the_other(
    cluster, group, pressed
):
    worker, neighbour = pressed
    notices = []
    with connected(cluster, notices) as client:
        before = [ask(client, prompt) for prompt in PROMPTS]
        needed = second_node(cluster).stage.cache_bytes
        client.release()
        eventually(lambda: second_node(cluster).stage.sequences, lambda count: not count)
        neighbour.leave((needed * 2 // 3 + LEAST) // MIB)
        with ThreadPoolExecutor(len(PROMPTS)) as pool:
            assert list(pool.map(lambda prompt: ask(client, prompt), PROMPTS)) == before
    assert of_memory(notices)
    assert (worker.poll(), group.kills) == (None, 0)
