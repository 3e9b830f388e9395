"""From where each shard comes: a pure decision, made anew whenever something has moved."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from pi_cluster.cluster.store.manifest import ShardFile

_FETCHES_AT_ONCE = 2  # that one node serves: two fill its link, more would only share it


@dataclass(frozen=True, slots=True)
class Move:
    """One shard's way to one node."""

    file: ShardFile
    node_id: str
    source_id: str | None
    """The node that has it; None: the operator."""


class Sources:
    """What each node lacks and who has it, while shards move.

    A node that holds a shard hands it on, which spares the operator's link; a few shards at a
    time. The operator sends what no node holds, each shard once: others that lack it wait until
    the first has it. What has failed once as a source is not asked again.
    """

    def __init__(
        self, lacking: Mapping[str, Sequence[ShardFile]], held: Mapping[str, Collection[str]]
    ) -> None:
        """``lacking`` by node id, ``held`` the digests of each possible source."""
        self._lacking = {node: list(files) for node, files in lacking.items()}
        self._held = {node: set(digests) for node, digests in held.items()}
        self._moving: set[Move] = set()

    def lacks_any(self, node_id: str) -> bool:
        """Whether something has yet to arrive at the node, or is on its way."""
        return bool(self._lacking[node_id]) or any(m.node_id == node_id for m in self._moving)

    def begin_fetch(self, node_id: str) -> Move | None:
        """The next shard that the node is to fetch from another one, if one is free to send."""
        serving = Counter(move.source_id for move in self._moving)
        for file in self._lacking[node_id]:
            free = [h for h in self._holders(file, node_id) if serving[h] < _FETCHES_AT_ONCE]
            if free:
                source = min(free, key=lambda holder: (serving[holder], holder))
                return self._begin(Move(file, node_id, source))
        return None

    def begin_sending(self, node_id: str) -> Move | None:
        """The next shard that the operator is to send to the node."""
        arriving = {move.file.sha256 for move in self._moving}
        for file in self._lacking[node_id]:
            if file.sha256 not in arriving and not self._holders(file, node_id):
                return self._begin(Move(file, node_id, None))
        return None

    def arrived(self, move: Move) -> None:
        """The node has it now, and can hand it on."""
        self._moving.discard(move)
        self._held.setdefault(move.node_id, set()).add(move.file.sha256)

    def source_failed(self, move: Move) -> None:
        """It did not arrive from that node, which is not asked for anything any more."""
        self._held.pop(move.source_id or "", None)
        if move in self._moving:
            self._moving.remove(move)
            self._lacking[move.node_id].insert(0, move.file)

    def give_up(self, node_id: str) -> None:
        """The node itself has failed: nothing is sent to it or had from it."""
        self._lacking[node_id] = []
        self._held.pop(node_id, None)
        self._moving = {move for move in self._moving if move.node_id != node_id}

    def _begin(self, move: Move) -> Move:
        self._lacking[move.node_id].remove(move.file)
        self._moving.add(move)
        return move

    def _holders(self, file: ShardFile, besides: str) -> list[str]:
        return [
            node for node, held in self._held.items() if file.sha256 in held and node != besides
        ]
