"""The machine that the command runs on."""

from collections.abc import Iterator

from pi_cluster.cluster.advice import command
from pi_cluster.deploy.doctor.facts import ClusterFacts
from pi_cluster.deploy.doctor.findings import THIS_MACHINE, Finding, note, problem, warning
from pi_cluster.deploy.doctor.rules.hardware import LEAST_FREE_DISK_BYTES, LOW_DISK_BYTES
from pi_cluster.deploy.screen.output import size


def ssh(facts: ClusterFacts) -> Iterator[Finding]:
    """No ssh program, which `up --hosts` needs."""
    if not facts.operator.ssh:
        yield note(
            THIS_MACHINE,
            "there is no ssh program, which `up --hosts` uses",
            "sudo apt install openssh-client",
        )


def keys(facts: ClusterFacts) -> Iterator[Finding]:
    """Keys that others may open."""
    for path in facts.operator.exposed_keys:
        mode = "700" if path.is_dir() else "600"
        yield problem(
            THIS_MACHINE,
            f"others on this machine may open {path}, which is or holds a key of the cluster",
            f"chmod {mode} {path}",
        )


def disk(facts: ClusterFacts) -> Iterator[Finding]:
    """Little room for stores."""
    free = facts.operator.free_disk_bytes
    if free < LOW_DISK_BYTES:
        say = problem if free < LEAST_FREE_DISK_BYTES else warning
        yield say(
            THIS_MACHINE,
            f"{size(free)} are left on the disk of {facts.operator.disk_folder}",
            "free some space there",
        )


def record(facts: ClusterFacts) -> Iterator[Finding]:
    """What `up` remembered cannot be read."""
    if facts.record_error:
        yield problem(THIS_MACHINE, facts.record_error, facts.up)


def any_node(facts: ClusterFacts) -> Iterator[Finding]:
    """No node is known at all."""
    if not facts.nodes and not facts.silent:
        yield problem(
            THIS_MACHINE,
            f"no node of cluster {facts.cluster!r} is known: none was heard by mDNS, and no "
            "pipeline is up",
            f"{facts.begin}; or have others examined: "
            f"{command(facts.cluster, 'doctor', '--nodes', 'HOST:PORT,...')}",
        )
