"""What nodes suffer from is noted among the events of their cluster."""

from pi_cluster.coordinator.records.events import EventKind, EventLog
from pi_cluster.coordinator.strained_nodes import Strain, StrainNews

_KINDS = {Strain.SHORT_OF_MEMORY: EventKind.MEMORY_SHORT, Strain.HOT: EventKind.NODE_HOT}


def note_strain(cluster: str, news: StrainNews) -> None:
    """Write down that a node has begun to suffer from something, or does no more."""
    details = {"node": news.node, "node_id": news.node_id, "is_over": news.is_over}
    EventLog(cluster).note(_KINDS[news.strain], news.said, details)
