"""What only shows when nodes are compared: connections, versions, speeds, and their pipeline."""

from collections.abc import Iterator

from pi_cluster.cluster.advice import command
from pi_cluster.cluster.wire.addresses import without_scope
from pi_cluster.cluster.wire.peer import is_loopback, split_address
from pi_cluster.deploy.doctor.facts import ClusterFacts, Examined
from pi_cluster.deploy.doctor.findings import THIS_MACHINE, Finding, note, problem, warning

SLOW_TWIN = 0.75  # of the fastest of the same model: more than cards, cables and air explain
SOON_S = 14 * 86_400  # a certificate that ends within two weeks wants an `up` before that
_EVERYWHERE = "0.0.0.0"  # noqa: S104  it goes into a sentence
EXPECTED_LOAD = 2.0  # beyond the workers' own threads: the system's housekeeping


def connections(facts: ClusterFacts) -> Iterator[Finding]:
    """Nodes that answer us and cannot be reached by other nodes."""
    machines = {node.about.machine_id for node in facts.nodes}
    for node in facts.nodes:
        address = node.peer.address
        if node.is_on_loopback and len(machines) > 1:
            yield problem(
                node.name,
                f"it listens on {address}, where other machines cannot reach it",
                f"if `up --local` started it, {command(facts.cluster, 'down')} ends it; else start "
                f"it with {command(facts.cluster, 'worker', '--listen', _EVERYWHERE)}",
            )
            continue
        errors = {
            other.name: reached.error
            for other in facts.nodes
            for reached in other.examination.reached
            if reached.address == without_scope(address) and reached.error and other is not node
        }
        if errors:
            who, why = next(iter(errors.items()))
            more = f" and {len(errors) - 1} more" if len(errors) > 1 else ""
            _, port = split_address(address)
            yield problem(
                node.name,
                f"{who}{more} cannot connect to it at {address}: {why}",
                f"on that node: sudo ufw allow {port}/tcp (or the same in its firewall); both must "
                "be on one network",
            )


def clusters(facts: ClusterFacts) -> Iterator[Finding]:
    """Nodes that were named and belong to another cluster."""
    for node in facts.nodes:
        if node.about.cluster != facts.cluster:
            yield problem(
                node.name,
                f"it belongs to cluster {node.about.cluster!r}, not {facts.cluster!r}",
                f"give --cluster {node.about.cluster}, or restart that worker with --cluster "
                f"{facts.cluster}",
            )


def versions(facts: ClusterFacts) -> Iterator[Finding]:
    """Programs of different age."""
    ours = facts.operator.version
    for node in facts.nodes:
        if node.about.version != ours:
            yield warning(
                node.name,
                f"it runs pi-cluster {node.about.version or 'of no version'}, this machine {ours}",
                _same_version(node, facts),
            )


def kernels(facts: ClusterFacts) -> Iterator[Finding]:
    """Several kinds of kernels, which is fine."""
    variants = sorted({node.about.kernels for node in facts.nodes})
    if len(variants) > 1:
        yield note(
            THIS_MACHINE,
            f"the nodes use different kernels ({', '.join(variants)})",
            "nothing: they return the same bits, and plans know how fast each node is",
        )


def twins(facts: ClusterFacts) -> Iterator[Finding]:
    """A node that was measured far slower than another of the same model."""
    measured = [n for n in facts.nodes if n.examination.model and n.about.speed.read_bytes_ps > 0]
    for node in measured:
        others = [other for other in measured if _are_twins(node, other)]
        twin = max(others, key=lambda other: other.about.speed.read_bytes_ps, default=node)
        rate, best_rate = (n.about.speed.read_bytes_ps for n in (node, twin))
        if rate < SLOW_TWIN * best_rate:
            yield warning(
                node.name,
                f"it was measured at {rate / 1e9:.1f} GB/s, and {twin.name}, a "
                f"{node.examination.model} too, at {best_rate / 1e9:.1f}",
                "look for heat, a weak supply and other programs there (`top`); to measure "
                "again, remove `profile` and `measured_with` from node.json in its data "
                f"directory, restart the worker, and run {facts.up}",
            )


def pipeline(facts: ClusterFacts) -> Iterator[Finding]:
    """Nodes that do not serve what this operator brought up, or moved."""
    for node in facts.nodes:
        if node.recorded is None:
            continue
        stage, where = node.about.stage, node.recorded.where
        if not node.about.HasField("stage"):
            yield problem(
                node.name,
                f"it has no stage loaded; layers {where.layers} of the pipeline are its",
                facts.up,
            )
        elif stage.epoch != facts.epoch:
            yield problem(
                node.name,
                "it serves a pipeline that somebody else brought up",
                f"{facts.up}, unless the other one is to stay",
            )
        if node.peer.address not in where.peer.addresses and not is_loopback(node.peer.address):
            yield warning(
                node.name,
                f"it was at {where.address} when the pipeline came up, and is at "
                f"{node.peer.address} now",
                f"{facts.up}; a fixed address (DHCP reservation) in the router spares that",
            )


def certificates(facts: ClusterFacts) -> Iterator[Finding]:
    """Certificates that have ended, or will soon."""
    for node in facts.nodes:
        expires = node.about.certificate_expires_unix_s
        if not expires:
            continue
        left_s = expires - facts.now_unix_s
        days = abs(left_s) / 86_400
        if left_s <= 0:
            yield problem(
                node.name,
                f"its certificate ended {days:.1f} days ago: nobody talks to it",
                "see whether its clock and this machine's are right; if they are, it has to be "
                f"admitted again: {command(facts.cluster, 'up')} does so with hosts that it has "
                f"set up, {command(facts.cluster, 'token', 'create')} for others",
            )
        elif left_s < SOON_S:
            yield warning(
                node.name, f"its certificate ends in {days:.1f} days", f"{facts.up} renews it"
            )


def load(facts: ClusterFacts) -> Iterator[Finding]:
    """Machines that are busy with something else."""
    threads: dict[str, int] = {}
    for node in facts.nodes:
        machine = node.about.machine_id
        threads[machine] = threads.get(machine, 0) + node.about.threads
    for node in facts.nodes:
        busy = node.examination.load
        is_idle = not node.about.stage.coordinator
        if is_idle and busy > threads[node.about.machine_id] + EXPECTED_LOAD:
            yield note(
                node.name,
                f"nobody asks it, and {busy:.1f} programs want to run there",
                "see which (`top`), and end what need not run there",
            )


def _same_version(node: Examined, facts: ClusterFacts) -> str:
    if node.is_on_loopback:
        down = command(facts.cluster, "down")
        return f"it runs since before this program was replaced: {down}, then {facts.up}"
    return (
        f"install the same version everywhere: {command(facts.cluster, 'up')} does so on the hosts "
        "that `up --hosts` has set up"
    )


def _are_twins(node: Examined, other: Examined) -> bool:
    """Whether two machines should be equally fast; workers of one machine share what it has."""
    return node.about.machine_id != other.about.machine_id and _kind(node) == _kind(other)


def _kind(node: Examined) -> tuple[str, int]:
    return node.examination.model.partition(" Rev ")[0], node.about.threads
