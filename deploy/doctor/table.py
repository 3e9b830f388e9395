"""What `pi-cluster doctor` shows: the facts of the nodes side by side, then the findings."""

from collections.abc import Callable, Sequence

from rich.console import ConsoleOptions, RenderResult
from rich.text import Text

from pi_cluster.cluster.shown import shown_line
from pi_cluster.deploy.doctor.facts import ClusterFacts, Examined, OperatorFacts
from pi_cluster.deploy.doctor.findings import Finding, Severity
from pi_cluster.deploy.screen.output import ago, count, size
from pi_cluster.deploy.screen.tables import FittedTable, names, whole, words
from pi_cluster.protos import pi_cluster_pb2 as pb

_SIDE_BY_SIDE = 4  # of more, nobody sees which column is whose
_NODE_WIDTH = 24  # on a screen, with its frame; what stands at the left takes less than another
_DAY_S = 86_400
_STYLES = {Severity.PROBLEM: "bold red", Severity.WARNING: "yellow", Severity.NOTE: "cyan"}


class FactTables:
    """Tables with a column for each node that answered and a row for each fact; rich prints them.

    Where not even one column would be wide enough to read, it is a block of lines for each node.
    """

    def __init__(self, facts: ClusterFacts) -> None:
        self._facts = facts

    def __rich_console__(self, console: object, options: ConsoleOptions) -> RenderResult:
        """As many nodes side by side as the width has room for."""
        nodes = self._facts.nodes
        side_by_side = min(_SIDE_BY_SIDE, options.max_width // _NODE_WIDTH - 1)
        if side_by_side < 1:
            yield self._blocks(nodes)
            return
        for first in range(0, len(nodes), side_by_side):
            yield self._table(nodes[first : first + side_by_side])

    def _table(self, nodes: Sequence[Examined]) -> FittedTable:
        columns = [whole(""), *(words(node.name) for node in nodes)]
        rows = [[label, *(tell(node, self._facts) for node in nodes)] for label, tell in _ROWS]
        return FittedTable(columns, rows)

    def _blocks(self, nodes: Sequence[Examined]) -> FittedTable:
        columns = [names("node"), *(words(label) for label, _ in _ROWS)]
        rows = [[node.name, *(tell(node, self._facts) for _, tell in _ROWS)] for node in nodes]
        return FittedTable(columns, rows, as_lines=True)


def own_line(own: OperatorFacts) -> str:
    """The machine that the command runs on, in a line."""
    return shown_line(
        f"this machine: pi-cluster {own.version}, Python {own.python}, "
        f"{f'ssh at {own.ssh}' if own.ssh else 'no ssh'}, {size(own.free_disk_bytes)} free on the "
        f"disk, mDNS {'cannot be used' if own.mdns_error else f'hears {len(own.heard)}'}"
    )


def findings_text(findings: Sequence[Finding]) -> Text:
    """Each finding with what to do about it, and how many there are of each kind."""
    text = Text()
    for finding in findings:
        text.append(f"{finding.severity.name.lower()}: ", _STYLES[finding.severity])
        text.append(shown_line(f"{', '.join(finding.nodes)}: {finding.what}") + "\n")
        text.append(shown_line(f"    -> {finding.to_do}") + "\n")
    return text.append(summary(findings))


def summary(findings: Sequence[Finding]) -> str:
    """How many findings there are, in one line."""
    if not findings:
        return "nothing is the matter"
    counts = [
        count(number, severity.name.lower())
        for severity in Severity
        if (number := sum(finding.severity is severity for finding in findings))
    ]
    return ", ".join(counts)


def _layers(node: Examined, _: ClusterFacts) -> str:
    stage = node.about.stage
    return f"{stage.layers.start}:{stage.layers.stop}" if node.about.HasField("stage") else "none"


def _program(node: Examined, _: ClusterFacts) -> str:
    told = node.examination
    return f"{node.about.version}, Python {told.python}, {told.wheel or 'no wheel'}"


def _kernels(node: Examined, _: ClusterFacts) -> str:
    return f"{node.about.kernels}, {count(node.about.threads, 'thread')}"


def _memory(node: Examined, _: ClusterFacts) -> str:
    about, told = node.about, node.examination
    limit = f", limit {size(told.memory_limit_bytes)}" if told.memory_limit_bytes else ""
    return f"{size(about.free_memory_bytes)} free of {size(about.memory_bytes)}{limit}"


def _swap(node: Examined, _: ClusterFacts) -> str:
    told = node.examination
    return f"{size(told.used_swap_bytes)} of {size(told.swap_bytes)}" if told.swap_bytes else "none"


def _disk(node: Examined, _: ClusterFacts) -> str:
    told = node.examination
    rate = f", reads {told.disk_read_bytes_ps / 1e6:.0f} MB/s" if told.disk_read_bytes_ps else ""
    return f"{size(node.about.free_disk_bytes)} free of {size(told.disk_bytes)}{rate}"


def _weights(node: Examined, _: ClusterFacts) -> str:
    if not node.about.HasField("stage"):
        return "none mapped"
    stage = node.about.stage
    told = stage.HasField("verified_ago_s")
    return f"found right {ago(stage.verified_ago_s)}" if told else "not verified"


def _temperature(node: Examined, _: ClusterFacts) -> str:
    degrees, told = node.about.temperature_c, node.examination
    flags = f"flags {told.throttled:#x}" if told.HasField("throttled") else "flags not told"
    return f"{f'{degrees:.0f} °C' if degrees else 'not told'}, {flags}"


def _clock(node: Examined, _: ClusterFacts) -> str:
    told = node.examination
    kept = "not told whether synchronised"
    if told.HasField("clock_synchronised"):
        kept = "synchronised" if told.clock_synchronised else "not synchronised"
    return f"{node.clock_offset_s:+.2f} s, {kept}"


def _load(node: Examined, _: ClusterFacts) -> str:
    return f"{node.examination.load:.1f}, up {node.examination.uptime_s / 3_600:.1f} hours"


def _network(node: Examined, _: ClusterFacts) -> str:
    return ", ".join(_port(port) for port in node.examination.ports if port.is_up) or "none up"


def _port(port: pb.NetworkPort) -> str:
    words = [f"{port.name}{' (Wi-Fi)' if port.is_wireless else ''}"]
    if port.megabits_ps:
        words.append(f"{port.megabits_ps} Mbit/s")
    if port.HasField("full_duplex"):
        words.append("full duplex" if port.full_duplex else "half duplex")
    if port.energy_efficient:
        words.append("EEE")
    if port.power_saving:
        words.append("power saving")
    return " ".join([*words, f"({count(port.carrier_changes, 'carrier change')})"])


def _hears(node: Examined, facts: ClusterFacts) -> str:
    known = {other.about.node_id for other in facts.nodes} - {node.about.node_id}
    return f"{len(known & set(node.examination.heard))} of {count(len(known), 'other node')}"


def _certificate(node: Examined, facts: ClusterFacts) -> str:
    expires = node.about.certificate_expires_unix_s
    return f"for {(expires - facts.now_unix_s) / _DAY_S:.0f} days" if expires else "none"


_ROWS: tuple[tuple[str, Callable[[Examined, ClusterFacts], str]], ...] = (
    ("address", lambda node, _: node.peer.address),
    ("layers", _layers),
    ("board", lambda node, _: node.examination.model or "not told"),
    ("system", lambda node, _: f"{node.examination.system}, {node.examination.architecture}"),
    ("pi-cluster", _program),
    ("kernels", _kernels),
    ("memory", _memory),
    ("swap in use", _swap),
    ("disk", _disk),
    ("weights", _weights),
    ("temperature", _temperature),
    ("clock", _clock),
    ("load", _load),
    ("network", _network),
    ("mDNS hears", _hears),
    ("certificate", _certificate),
)
