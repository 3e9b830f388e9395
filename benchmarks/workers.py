"""Real workers for benchmarks, as people start them, and pipelines of those."""

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.json_process import ROOT, Popen
from pi_cluster.cluster.layer_range import LayerRange
from pi_cluster.cluster.store.store import Store
from pi_cluster.cluster.wire.dialing import Dialer, PlainDialer
from pi_cluster.cluster.wire.peer import Peer
from pi_cluster.coordinator.pipeline.nodes import ask_nodes
from pi_cluster.coordinator.pipeline.rollout import Rollout, load_stages, next_epoch, recorded
from pi_cluster.coordinator.pipeline.transfer import hand_out_shards
from pi_cluster.coordinator.planning.objective import Objective
from pi_cluster.coordinator.planning.plan import Plan, PlannedStage
from pi_cluster.coordinator.planning.prediction import Prediction
from pi_cluster.coordinator.records.pipeline_record import PipelineRecord
from pi_cluster.transformer.limits import Limits
from pi_cluster.worker.command_line import WorkerCommand

CLUSTER = "benchmark"
PLAIN = PlainDialer(beyond_loopback=True)
"""Workers of benchmarks stand on this machine or on an emulated network of it."""
_UNKNOWN = Prediction(0.0, 0.0, 0.0, (), ())


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker that answers calls."""

    process_id: int
    address: str


@contextmanager
def worker(
    data_dir: Path,
    *,
    core: int | None = None,
    listen: str = "127.0.0.1:0",
    popen: Popen = subprocess.Popen,
) -> Iterator[Worker]:
    """One with a single kernel thread, all of it on ``core`` if that is given.

    ``popen`` starts it elsewhere than here, such as in a host of an emulated network.
    """
    command = ["taskset", "--cpu-list", str(core)] if core is not None else []
    # On an emulated network nobody else listens; a certificate that the node has is used anyway.
    command += WorkerCommand(
        CLUSTER,
        str(data_dir),
        threads=1,
        insecure=True,
        listen=listen,
        name=data_dir.name,
        announce=False,
    ).words
    log_path = data_dir.with_suffix(".log")
    with log_path.open("w") as log:
        process = popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        assert process.stdout is not None
        words = process.stdout.readline().split()
        if words[:1] != ["ready"]:
            raise RuntimeError(f"a worker did not start:\n{log_path.read_text()}")
        yield Worker(process.pid, words[1])
    finally:
        process.terminate()
        process.communicate()


def rollout(
    store: Store,
    limits: Limits,
    addresses: Sequence[str],
    ranges: Sequence[LayerRange],
    dialer: Dialer = PLAIN,
) -> Rollout:
    """A plan that gives the worker at each address the layers of the same index."""
    nodes = ask_nodes([Peer(address, "", "") for address in addresses], CLUSTER, dialer)
    stages = []
    for node, layers in zip(nodes, ranges, strict=True):
        files = store.manifest.stage_files(layers.start, layers.stop)
        weight_bytes = sum(file.size_bytes for file in files)
        stages.append(PlannedStage(node.about.node_id, layers, weight_bytes, memory_bytes=0))
    by_id = {node.about.node_id: node for node in nodes}
    plan = Plan(tuple(stages))
    return Rollout(
        store.manifest, store, limits, Objective.THROUGHPUT, plan, _UNKNOWN, by_id, dialer
    )


def bring_up(planned: Rollout, folder: Path) -> PipelineRecord:
    """Hand out the shards that are missing, and load all stages."""
    hand_out_shards(planned, Silent())
    epoch = next_epoch(planned, None)
    load_stages(planned, epoch)
    return recorded(planned, epoch, folder)


class Silent:
    """Shows no progress."""

    def begin(self, node: Peer, received_bytes: int, total_bytes: int) -> None:
        """Not shown."""

    def update(self, node: Peer, received_bytes: int) -> None:
        """Not shown."""

    def end(self, node: Peer) -> None:
        """Not shown."""
