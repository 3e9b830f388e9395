"""Where the stages of a pipeline are."""

from dataclasses import dataclass

from pi_cluster.cluster.layer_range import LayerRange
from pi_cluster.cluster.wire.peer import Peer


@dataclass(frozen=True, slots=True)
class StageAddress:
    """Where one stage of a pipeline is served."""

    node_id: str
    name: str
    address: str
    layers: LayerRange
    others: tuple[str, ...] = ()
    """Further addresses of the node."""

    @property
    def peer(self) -> Peer:
        """The node to call."""
        return Peer(self.address, self.node_id, self.name, others=self.others)

    @property
    def label(self) -> str:
        """Name, address and layers, for messages."""
        return f"{self.name} ({self.address}, layers {self.layers})"
