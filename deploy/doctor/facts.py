"""What is known of a cluster's machines: told by them, seen from here, and judged elsewhere."""

from dataclasses import dataclass
from pathlib import Path

from pi_cluster.cluster.errors import ClusterError
from pi_cluster.cluster.wire.peer import Peer, is_loopback
from pi_cluster.coordinator.records.pipeline_record import RecordedStage
from pi_cluster.protos import pi_cluster_pb2 as pb


@dataclass(frozen=True, slots=True)
class Examined:
    """A node that has told of itself and of its machine."""

    peer: Peer
    about: pb.NodeDescription
    examination: pb.Examination
    clock_offset_s: float
    """How far its clock is ahead of ours."""
    recorded: RecordedStage | None = None
    """Its part in the pipeline that is up, if it has one."""

    @property
    def name(self) -> str:
        """What people call it."""
        return self.about.name or self.peer.address

    @property
    def is_on_loopback(self) -> bool:
        """Whether it is reached from its own machine alone."""
        return is_loopback(self.peer.address)


@dataclass(frozen=True, slots=True)
class HostService:
    """How the worker's service is on a host that was set up over SSH, as the host told."""

    host: str
    """As SSH knows it."""
    error: str = ""
    """Why SSH does not reach it; then the rest is not known."""
    state: str = ""
    """As systemd has it: ``failed (failed)``."""
    is_active: bool = False
    restarts: int = 0
    """By systemd, since it was started last."""
    journal: tuple[str, ...] = ()
    """The last lines that it logged; empty where the user may not read them."""


@dataclass(frozen=True, slots=True)
class Silent:
    """A node that was expected to answer and did not, or not in full."""

    peer: Peer
    error: ClusterError
    """What came of asking it."""
    connection: str
    """Why not even a TCP connection could be made; empty when it could."""
    recorded: RecordedStage | None = None
    service: HostService | None = None
    """Of its host; None where it was not set up over SSH."""
    log: Path | None = None
    """Of a worker that `up --local` started on this machine."""

    @property
    def name(self) -> str:
        """What people call it."""
        return self.peer.name or self.peer.address


@dataclass(frozen=True, slots=True)
class OperatorFacts:
    """The machine that the command runs on."""

    version: str
    """Of pi-cluster."""
    python: str
    ssh: str
    """Where the ssh program is; empty without one."""
    heard: tuple[str, ...]
    """Ids of the nodes that mDNS finds from here."""
    mdns_error: str
    """Why mDNS cannot be used here; empty when it can."""
    exposed_keys: tuple[Path, ...]
    """Keys of the cluster, and their folder, that others on this machine may open."""
    free_disk_bytes: int
    disk_folder: Path
    """Whose disk that is: stores of models and logs lie there."""


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """The cluster's server that runs on this machine."""

    url: str
    version: str
    """Of pi-cluster, as it was when the server began."""
    answers_here: bool
    """This user, by its socket."""
    unreached: tuple[str, ...]
    """Addresses where it should listen and nobody accepts a connection, and why."""
    is_open_to_keys_alone: bool
    keys: int
    certificate_expires_unix_s: float | None
    """None without HTTPS, and where it shows none."""
    tls_error: str
    """Why it shows none; empty when it does, and without HTTPS."""


@dataclass(frozen=True, slots=True)
class ClusterFacts:
    """Everything that is judged together."""

    cluster: str
    operator: OperatorFacts
    nodes: tuple[Examined, ...]
    silent: tuple[Silent, ...]
    epoch: int | None
    """Of the pipeline that this operator brought up; None when there is none."""
    record_error: str
    """Why what `up` remembered of it cannot be read; empty when it can."""
    now_unix_s: float
    up: str = "pi-cluster up"
    """The line that brings the pipeline back, in this cluster and state."""
    begin: str = ""
    """How nodes are had where there are none."""
    server: ServerFacts | None = None
    """None where no server runs here."""
