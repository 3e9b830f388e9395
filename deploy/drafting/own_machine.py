"""This machine, as one that may draft: how fast it is, and how much of it is to be had."""

from collections.abc import Sequence
from contextlib import nullcontext

from pi_cluster.cluster import settings
from pi_cluster.cluster.speed import Speed
from pi_cluster.cluster.wire.addresses import parsed
from pi_cluster.cluster.wire.interfaces import own_interfaces
from pi_cluster.cluster.wire.peer import is_loopback, split_address
from pi_cluster.coordinator.stage_address import StageAddress
from pi_cluster.kernels import Engine, usable_cores
from pi_cluster.worker.identity import load_identity
from pi_cluster.worker.machine.speed import ProfileKeeper

FOLDER_NAME = "this-machine"


def draft_threads(workers_here: int) -> int:
    """Threads of a draft model beside as many workers of the pipeline on this machine.

    A core is left to whoever asks the pipeline. Workers keep theirs, as the pipeline waits for
    them, and for no guess.
    """
    cores = usable_cores()
    return max(1, cores // (workers_here + 1) if workers_here else cores - 1)


def own_speed(threads: int) -> Speed:
    """How fast this machine computes with these threads: measured once, as nodes are.

    It takes about a second. What else runs meanwhile makes it slower, as it does drafts.
    """
    folder = settings.folders().cache / FOLDER_NAME
    folder.mkdir(parents=True, exist_ok=True)
    with Engine(settings.kernel_variant(), threads) as engine:
        keeper = ProfileKeeper(folder, load_identity(folder), engine)
        return keeper.profile(nullcontext).alone


def stages_here(stages: Sequence[StageAddress]) -> int:
    """How many stages of a pipeline are on this machine, by the addresses that they have."""
    own = {one.address for each in own_interfaces() for one in each.addresses}
    return sum(
        any(
            is_loopback(address) or parsed(split_address(address)[0]) in own
            for address in stage.peer.addresses
        )
        for stage in stages
    )
