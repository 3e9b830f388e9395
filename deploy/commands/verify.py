"""``pi-cluster verify``: whether a store, or what nodes hold of one, is as it was written."""

from collections.abc import Callable, Sequence

import click
from rich.progress import Progress

from pi_cluster.cluster.advice import command
from pi_cluster.cluster.errors import StoreError
from pi_cluster.cluster.wire.dialing import Dialer
from pi_cluster.cluster.wire.peer import Peer
from pi_cluster.coordinator.pipeline.nodes import named_or_found
from pi_cluster.coordinator.pipeline.verifying import OnProgress, Verified, verify_nodes
from pi_cluster.coordinator.records.kept_record import has_record, load_record
from pi_cluster.deploy.calling import dialer_for
from pi_cluster.deploy.commands.options import cluster_option, insecure_option, model_argument
from pi_cluster.deploy.doctor.examining import was_insecure
from pi_cluster.deploy.models.model_source import find_source
from pi_cluster.deploy.models.sharding import told_making
from pi_cluster.deploy.models.sound_store import sound_store
from pi_cluster.deploy.screen import output
from pi_cluster.protos import pi_cluster_pb2 as pb

_ALL = "all"


@click.command()
@model_argument
@click.option(
    "--nodes",
    is_flag=False,
    flag_value=_ALL,
    metavar="[HOST:PORT,...]",
    help="Verify what nodes hold: these, or else those of the pipeline, or that mDNS finds.",
)
@insecure_option
@cluster_option
def verify(model: str | None, nodes: str | None, insecure: bool, cluster: str) -> None:
    """Find what is damaged in a store, or on nodes.

    MODEL is a store, or what has become one: a pulled model's name, a checkpoint. Every file is
    compared with the store's manifest; what the store was made from is told, too. With --nodes,
    each node reads all of its shards again. One that is damaged is set aside, and nothing computes
    on it any more; `pi-cluster up` sends it again.
    """
    if (model is None) == (nodes is None):
        raise click.UsageError("name a MODEL, or give --nodes to verify what the nodes hold")
    if model is not None:
        opened = sound_store(find_source(model))
        lines = [f"{opened.path}: all {len(opened.manifest.files)} files are as written"]
        lines += told_making(opened)
        output.notes.print("\n  ".join(lines), markup=False, soft_wrap=True)
        return
    dialer = dialer_for(cluster, insecure or was_insecure(cluster))
    peers = _peers(None if nodes == _ALL else nodes, cluster, dialer)
    with output.bars() as progress:
        found = verify_nodes(peers, dialer, node_bars(progress))
    _tell(found, cluster)


def node_bars(progress: Progress) -> OnProgress:
    """A bar for each node."""
    bars: dict[Peer, Callable[[int, int, str], None]] = {}

    def show(peer: Peer, reply: pb.VerifyShardsReply) -> None:
        if peer not in bars:
            bars[peer] = output.FileBar(progress)
        what = f"{peer.name or peer.address} {reply.name.removesuffix('.safetensors')}"
        bars[peer](reply.done_bytes, reply.total_bytes, what)

    return show


def _peers(named: str | None, cluster: str, dialer: Dialer) -> list[Peer]:
    if not named and has_record(cluster):
        return [stage.peer for stage in load_record(cluster).addresses]
    nodes, warnings = named_or_found(named, cluster, dialer)
    output.warn(warnings)
    return [node.peer for node in nodes]


def _tell(found: Sequence[Verified], cluster: str) -> None:
    """A line for each node that is right; raises ``StoreError`` about the others."""
    for one in found:
        if one.is_right:
            line = f"{one.peer.label}: {_shards(one.shards)} as sent"
            output.notes.print(line, soft_wrap=True)
    wrong = [line for one in found for line in _problems(one)]
    if wrong:
        advice = f"`{command(cluster, 'up')}` sends damaged shards again"
        is_damage = any(one.damaged for one in found)
        text = ["not all nodes are right:", *wrong, *([advice] if is_damage else [])]
        raise StoreError("\n".join(text))


def _problems(one: Verified) -> list[str]:
    if one.error:
        return [f"  {one.peer.label}: not verified: {one.error}"]
    return [f"  {one.peer.label}: {label(shard)} {shard.problem}" for shard in one.damaged]


def label(shard: pb.DamagedShard) -> str:
    """What people call it."""
    return shard.name or f"shard {shard.sha256[:12]}"


def _shards(number: int) -> str:
    return f"all {number} shards are" if number != 1 else "its one shard is"
