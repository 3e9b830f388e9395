"""The server that runs beside the command."""

from collections.abc import Iterator

from pi_cluster.cluster.advice import command
from pi_cluster.deploy.doctor.facts import ClusterFacts
from pi_cluster.deploy.doctor.findings import THIS_MACHINE, Finding, problem, warning

_SOON_S = 14 * 86_400.0


def reachable(facts: ClusterFacts) -> Iterator[Finding]:
    """It does not answer this user, or nobody comes to its port."""
    server = facts.server
    if server is None:
        return
    if not server.answers_here:
        yield problem(
            THIS_MACHINE,
            f"the server at {server.url} runs, and does not answer this user",
            "look into its log, and start it again",
        )
    for place in server.unreached:
        yield problem(
            THIS_MACHINE, f"nobody comes to the server at {place}", "start the server again"
        )


def keys(facts: ClusterFacts) -> Iterator[Finding]:
    """It lets in nobody without a key, and nobody has one."""
    server = facts.server
    if server and server.is_open_to_keys_alone and not server.keys:
        yield problem(
            THIS_MACHINE,
            f"the server at {server.url} wants a key, and there is none",
            command(facts.cluster, "key", "create", "NAME"),
        )


def certificate(facts: ClusterFacts) -> Iterator[Finding]:
    """Its certificate is too old, soon will be, or cannot be had."""
    server = facts.server
    if server is None:
        return
    if server.tls_error:
        yield problem(
            THIS_MACHINE,
            f"the server at {server.url} shows no certificate ({server.tls_error})",
            "look into its log, and start it again",
        )
    expires_s = server.certificate_expires_unix_s
    if expires_s is not None and expires_s - facts.now_unix_s < _SOON_S:
        days = (expires_s - facts.now_unix_s) / 86_400
        say, when = (problem, "is out of date") if days <= 0 else (warning, f"ends in {days:.0f} d")
        yield say(
            THIS_MACHINE,
            f"the certificate of the server at {server.url} {when}",
            "start the server again; one of --tls-cert must be renewed before",
        )


def version(facts: ClusterFacts) -> Iterator[Finding]:
    """It runs what was installed before."""
    server = facts.server
    if server and server.version != facts.operator.version:
        yield warning(
            THIS_MACHINE,
            f"the server at {server.url} runs pi-cluster {server.version}, and "
            f"{facts.operator.version} is installed",
            "start the server again",
        )
