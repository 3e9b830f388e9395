"""Memory of one node: too little, swapped, limited, or run out of."""

from collections.abc import Iterator

from pi_cluster.cluster.advice import command
from pi_cluster.deploy.doctor.facts import Examined
from pi_cluster.deploy.doctor.findings import Finding, problem, warning
from pi_cluster.deploy.screen.output import size

LEAST_BYTES = 800 << 20  # a Pi of 1 GB tells about 900 MiB; one of 512 MB has room for no 7B layer
LEAST_FREE_BYTES = 100 << 20  # less, and pages of mapped weights are read from disk again and again
MOST_SWAPPED_BYTES = 64 << 20  # a few idle pages of other programs always are


def size_of_memory(node: Examined) -> Iterator[Finding]:
    """A machine too small, or one on which hardly anything is free."""
    total, free = node.about.memory_bytes, node.about.free_memory_bytes
    if 0 < total < LEAST_BYTES:
        yield warning(
            node.name,
            f"{size(total)} of memory hold only few layers",
            "use a Pi with 2 GB or more, or leave it with the small share that plans give it",
        )
    if total and free < LEAST_FREE_BYTES:
        yield warning(
            node.name,
            f"{size(free)} of {size(total)} of memory are free: weights are read from disk again "
            "and again",
            f"end other programs there (`ps aux --sort -rss | head`), or {_less(node)}",
        )


def short(node: Examined) -> Iterator[Finding]:
    """A node that nears its limit now."""
    if node.about.short_of_memory:
        yield warning(
            node.name,
            "it is short of memory: texts kept for reuse are let go, and new ones wait",
            f"end other programs there (`ps aux --sort -rss | head`), or {_less(node)}",
        )


def swap(node: Examined) -> Iterator[Finding]:
    """Swap in use while a stage is loaded."""
    used = node.examination.used_swap_bytes
    if used >= MOST_SWAPPED_BYTES:
        yield warning(
            node.name,
            f"{size(used)} of swap are in use: memory is short, and what is swapped is slow",
            f"end other programs there (`ps aux --sort -rss | head`), or {_less(node)}",
        )


def room_for_stage(node: Examined) -> Iterator[Finding]:
    """A limit of the service, or a machine, smaller than what its stage may need."""
    if node.recorded is None:
        return
    needed, limit = node.recorded.memory_bytes, node.examination.memory_limit_bytes
    if 0 < limit < needed:
        yield problem(
            node.name,
            f"the worker may use {size(limit)} of memory, and its stage needs up to "
            f"{size(needed)}: it will be killed",
            f"raise the service's memory limit (`memory` in cluster.toml, then "
            f"{command(node.about.cluster, 'up', '--hosts', 'cluster.toml')}), "
            f"or {_less(node)}",
        )
    elif 0 < node.about.memory_bytes < needed:
        yield problem(
            node.name,
            f"the machine has {size(node.about.memory_bytes)} of memory, and its stage needs up to "
            f"{size(needed)}",
            _less(node),
        )


def killed(node: Examined) -> Iterator[Finding]:
    """Processes that were killed because memory had run out."""
    if kills := node.examination.out_of_memory_kills:
        yield warning(
            node.name,
            f"memory ran out, and Linux has killed programs: {kills} since boot",
            f"see which one: `journalctl -k -g 'Out of memory'`; {_less(node)}",
        )


def _less(node: Examined) -> str:
    up = command(node.about.cluster, "up")
    return f"take a larger share elsewhere: {up} with more nodes or fewer --texts"
