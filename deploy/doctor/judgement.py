"""From the facts of all machines to the findings about them. Pure: it asks nobody anything."""

from collections.abc import Callable, Iterable, Iterator

from pi_cluster.deploy.doctor.facts import ClusterFacts, Examined
from pi_cluster.deploy.doctor.findings import Finding, ordered
from pi_cluster.deploy.doctor.rules import (
    between_nodes,
    hardware,
    memory,
    multicast,
    network,
    operator,
    server,
    shards,
    silence,
    software,
)

_OF_A_NODE: tuple[Callable[[Examined], Iterable[Finding]], ...] = (
    hardware.throttling,
    hardware.temperature,
    hardware.disk,
    hardware.clock_service,
    shards.damaged,
    shards.unverified,
    memory.room_for_stage,
    memory.size_of_memory,
    memory.short,
    memory.swap,
    memory.killed,
    software.operating_system,
    software.python,
    software.wheel,
    software.kernels,
    network.wired,
    network.wireless,
)
_OF_ALL: tuple[Callable[[ClusterFacts], Iterable[Finding]], ...] = (
    operator.any_node,
    silence.silent_nodes,
    operator.record,
    between_nodes.clusters,
    between_nodes.pipeline,
    between_nodes.connections,
    between_nodes.certificates,
    hardware.clock_offsets,
    multicast.multicast,
    between_nodes.versions,
    between_nodes.twins,
    between_nodes.load,
    between_nodes.kernels,
    operator.keys,
    operator.disk,
    operator.ssh,
    server.reachable,
    server.keys,
    server.certificate,
    server.version,
)


def judge(facts: ClusterFacts) -> list[Finding]:
    """What is the matter, the worst first."""
    return ordered(_all(facts))


def _all(facts: ClusterFacts) -> Iterator[Finding]:
    for rule in _OF_ALL:
        yield from rule(facts)
    for node in facts.nodes:
        for of_a_node in _OF_A_NODE:
            yield from of_a_node(node)
