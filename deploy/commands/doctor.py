"""``pi-cluster doctor``: what is the matter with the nodes and this machine, and what to do."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import click

from pi_cluster.cluster import settings
from pi_cluster.cluster.errors import NodeError, NodeLost
from pi_cluster.cluster.shown import shown_line
from pi_cluster.cluster.wire.dialing import Dialer
from pi_cluster.cluster.wire.peer import Peer
from pi_cluster.coordinator.pipeline.verifying import verify_nodes
from pi_cluster.deploy.calling import dialer_for
from pi_cluster.deploy.commands.options import cluster_option, insecure_option, nodes_option
from pi_cluster.deploy.commands.verify import node_bars
from pi_cluster.deploy.doctor.examining import gather_facts, was_insecure
from pi_cluster.deploy.doctor.facts import ClusterFacts, Examined, Silent
from pi_cluster.deploy.doctor.findings import Finding, Severity
from pi_cluster.deploy.doctor.judgement import judge
from pi_cluster.deploy.doctor.table import FactTables, findings_text, own_line
from pi_cluster.deploy.hosts.service_health import service_of
from pi_cluster.deploy.screen import output
from pi_cluster.deploy.screen.message_json import to_json


@click.command()
@nodes_option
@insecure_option
@click.option(
    "--verify", is_flag=True, help="Have each node read all of its shards again, which takes long."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@cluster_option
@click.pass_context
def doctor(
    context: click.Context,
    nodes: str | None,
    insecure: bool,
    verify: bool,
    as_json: bool,
    cluster: str,
) -> None:
    """Examine the nodes and this machine, and say what to do. Exit code 1 when there is a problem.

    Asks the nodes of the pipeline that is up and those that mDNS finds. Each reads up to 64 MiB of
    its disk; beside that nothing changes on them.
    """
    settings.check_cluster_name(cluster)
    dialer = dialer_for(cluster, insecure or was_insecure(cluster))
    if verify:
        facts = _verified_facts(cluster, nodes, dialer)
    else:
        with output.notes.status("asking the nodes"):
            facts = gather_facts(cluster, nodes, dialer, service_of)
    findings = judge(facts)
    if as_json:
        click.echo(json.dumps(_report(facts, findings)))
    else:
        output.answers.print(own_line(facts.operator))
        output.answers.print(FactTables(facts))
        output.answers.print(findings_text(findings, output.answers.width), soft_wrap=True)
    if any(finding.severity is Severity.PROBLEM for finding in findings):
        context.exit(1)


def _verified_facts(cluster: str, nodes: str | None, dialer: Dialer) -> ClusterFacts:
    """The facts after each node has read its shards again; who does not answer is silent later."""
    with output.bars() as progress:

        def verify(peers: Sequence[Peer]) -> None:
            found = verify_nodes(peers, dialer, node_bars(progress))
            output.warn(
                shown_line(f"{one.peer.label}: not verified: {one.error}")
                for one in found
                if isinstance(one.error, NodeError) and not isinstance(one.error, NodeLost)
            )

        return gather_facts(cluster, nodes, dialer, service_of, verify)


def _report(facts: ClusterFacts, findings: Sequence[Finding]) -> dict[str, Any]:
    operator = asdict(facts.operator) | {
        "exposed_keys": [str(path) for path in facts.operator.exposed_keys],
        "disk_folder": str(facts.operator.disk_folder),
    }
    return {
        "cluster": facts.cluster,
        "operator": operator,
        "server": asdict(facts.server) if facts.server else None,
        "nodes": [*map(_examined, facts.nodes), *map(_silent, facts.silent)],
        "findings": [
            {
                "severity": finding.severity.name.lower(),
                "nodes": list(finding.nodes),
                "what": finding.what,
                "to_do": finding.to_do,
            }
            for finding in findings
        ],
    }


def _examined(node: Examined) -> dict[str, Any]:
    return {
        "node": node.name,
        "address": node.peer.address,
        "error": None,
        "clock_offset_s": node.clock_offset_s,
        "about": to_json(node.about),
        "examination": to_json(node.examination),
    }


def _silent(node: Silent) -> dict[str, Any]:
    error = node.connection or str(node.error)
    return {"node": node.name, "address": node.peer.address, "error": error}
