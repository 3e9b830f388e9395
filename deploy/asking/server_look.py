"""How a server of this machine is, as `status` shows it."""

from dataclasses import dataclass, field

from pi_cluster.cluster.errors import ClusterError
from pi_cluster.coordinator.records.server_record import find_server
from pi_cluster.deploy.asking.server_link import link_to_local_server


@dataclass(frozen=True, slots=True)
class ServerLook:
    """A server that runs here."""

    url: str
    running: int | None
    """Requests that are answered; None when it does not say."""
    waiting: int | None
    expected_wait_s: float | None
    """Of one who would come now, where that is known."""
    guesses: dict[str, tuple[int, int]] = field(default_factory=dict)
    """By who made them: the right ones, and all that were decided."""

    def __str__(self) -> str:
        """A line for people."""
        if self.running is None:
            return f"server: {self.url}, which does not answer: its log may tell why"
        waits = f", {self.waiting} waiting" if self.waiting else ""
        about = f" (about {self.expected_wait_s:.0f} s)" if waits and self.expected_wait_s else ""
        return f"server: {self.url}, {self.running or 'nobody'} being answered{waits}{about}"


def look_at_server(cluster: str) -> ServerLook | None:
    """The cluster's server on this machine; None where none runs."""
    record, link = find_server(cluster), link_to_local_server(cluster)
    if record is None or link is None:
        return None
    try:
        state = link.get("/cluster/v1/state")
    except ClusterError:
        return ServerLook(record.url, None, None, None)
    requests = state.get("requests", {})
    return ServerLook(
        record.url,
        requests.get("running"),
        requests.get("waiting"),
        requests.get("expected_wait_s"),
        {one["by"]: (one["right"], one["decided"]) for one in state.get("guesses", ())},
    )
