"""What announcements say of the nodes of one cluster, collected within bounds.

Anyone may announce anything, again and again and under the id of somebody else. So nothing that
is heard replaces what was heard before: a node has every address that is announced for it, and who
answers there is found out by calling. What is no announcement of ours is passed over.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pi_cluster.cluster.wire.addresses import in_order_of_sense, parsed
from pi_cluster.cluster.wire.interfaces import Interface, LinkKind
from pi_cluster.cluster.wire.peer import MOST_ADDRESSES, Peer, bracketed

MOST_NODES = 128  # that were not known before; those that were are heard in any case
MAX_NAME = 64
_MOST_TOKENS = 4  # by which one known node is said to wait

_NODE_ID = re.compile(r"[A-Za-z0-9-]{1,63}")
_HOST = re.compile(r"[0-9A-Fa-f:.]{2,45}(?:%[A-Za-z0-9._@:-]{1,15})?")  # with an interface's name
_TOKEN_ID = re.compile(r"[0-9a-f]{1,16}")

KIND_KEYS = {LinkKind.WIRELESS: "wireless", LinkKind.TUNNEL: "tunnel"}
"""Properties that list which of the addresses are of such an interface; others have a cable."""


@dataclass(slots=True)
class _Sighting:
    name: str
    addresses: dict[str, None] = field(default_factory=dict)
    kinds: dict[str, LinkKind] = field(default_factory=dict)


class Sightings:
    """Nodes of a cluster that were heard, and of those the ones that said goodbye."""

    def __init__(self, cluster: str, known: Collection[str] = ()) -> None:
        """``known`` are ids of nodes that are never crowded out by others."""
        self._cluster = cluster
        self._known = frozenset(known)
        self._seen: dict[tuple[str, str], _Sighting] = {}  # by node id, and token's id or nothing
        self._departed: set[str] = set()
        self.left_out = 0
        """Announcements of nodes beyond ``MOST_NODES``."""

    def hear(
        self, node_id: str, hosts: Sequence[str], port: int, properties: Mapping[bytes, bytes]
    ) -> None:
        """A node announces itself at ``port`` of ``hosts``, which are IP addresses."""
        joining = _text(properties, "joining")
        if (
            _text(properties, "cluster") != self._cluster
            or not _NODE_ID.fullmatch(node_id)
            or (joining and not _TOKEN_ID.fullmatch(joining))
            or not 0 < port < 65536
        ):
            return
        good = [host for host in hosts if _HOST.fullmatch(host) and parsed(host) is not None]
        if not good:
            return
        self._departed.discard(node_id)
        key = node_id, joining
        if key not in self._seen and not self._has_room(node_id):
            self.left_out += 1
            return
        name = _text(properties, "name")[:MAX_NAME]
        sighting = self._seen.setdefault(key, _Sighting(name))
        for host in good:
            if len(sighting.addresses) < MOST_ADDRESSES:
                sighting.addresses[f"{bracketed(host)}:{port}"] = None
        theirs = {str(parsed(host)) for host in good}
        sighting.kinds |= {host: kind for host, kind in _kinds(properties) if host in theirs}

    def part(self, node_id: str) -> None:
        """A node says goodbye, or somebody says it in its name."""
        self._departed.add(node_id)

    @property
    def ids(self) -> set[str]:
        """Of those that are there."""
        return {node_id for node_id, _ in self._seen} - self._departed

    def peers(self, ours: Sequence[Interface]) -> list[Peer]:
        """Those that are there, in order of name and node id, with the best address first."""
        return self._peers(ours, lambda node_id: node_id not in self._departed)

    def departed(self, ours: Sequence[Interface]) -> list[Peer]:
        """Those that were heard, and then a goodbye in their name."""
        return self._peers(ours, lambda node_id: node_id in self._departed)

    def _peers(self, ours: Sequence[Interface], wanted: Callable[[str], bool]) -> list[Peer]:
        found = []
        for (node_id, joining), one in self._seen.items():
            if wanted(node_id):
                first, *others = in_order_of_sense(one.addresses, ours, one.kinds) or one.addresses
                found.append(Peer(first, node_id, one.name, joining, tuple(others)))
        return sorted(found, key=lambda peer: (peer.name, peer.node_id, peer.joining))

    def _has_room(self, node_id: str) -> bool:
        if node_id in self._known:
            return sum(one == node_id for one, _ in self._seen) < _MOST_TOKENS
        return sum(one not in self._known for one, _ in self._seen) < MOST_NODES


def _kinds(properties: Mapping[bytes, bytes]) -> Iterator[tuple[str, LinkKind]]:
    """Kind of interface by address, as far as the announcement tells."""
    for kind, key in KIND_KEYS.items():
        for host in _text(properties, key).split(","):
            if (ip := parsed(host)) is not None:
                yield str(ip), kind


def _text(properties: Mapping[bytes, bytes], key: str) -> str:
    return properties.get(key.encode(), b"").decode("utf-8", "replace")
