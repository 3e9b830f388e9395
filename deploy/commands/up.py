"""``pi-cluster up``: from a model to a pipeline that is ready."""

from pathlib import Path

import click

from pi_cluster.cluster.advice import line
from pi_cluster.cluster.errors import StoreError
from pi_cluster.coordinator.pipeline.renewal import renew_certificates
from pi_cluster.coordinator.planning.objective import Objective
from pi_cluster.coordinator.records.known_hosts import load_hosts
from pi_cluster.coordinator.records.known_nodes import remember_nodes
from pi_cluster.coordinator.records.up_call import UpCall
from pi_cluster.deploy.as_before import open_store, what_is_up
from pi_cluster.deploy.bringing_up import Change, bring_up, have_stand_by
from pi_cluster.deploy.calling import dialer_for
from pi_cluster.deploy.commands.draft_model_option import draft_model_option, model_of
from pi_cluster.deploy.commands.options import (
    ask_password,
    cluster_option,
    context_option,
    hosts_option,
    insecure_option,
    left_out,
    model_argument,
    nodes_option,
    replicas_option,
    sudo_password_option,
    texts_option,
    wheels_option,
)
from pi_cluster.deploy.hosts.bootstrap import Result
from pi_cluster.deploy.hosts.fleet import SetupOptions, bring_grants, set_up_hosts, tell_failures
from pi_cluster.deploy.hosts.host_list import read_hosts
from pi_cluster.deploy.membership.admission import admit_waiting
from pi_cluster.deploy.models.model_source import find_source
from pi_cluster.deploy.offered_nodes import named_nodes, nodes_as_before, with_announced
from pi_cluster.deploy.screen import output
from pi_cluster.deploy.taking_turns import in_turn
from pi_cluster.worker.machine.able import check_able


@click.command()
@model_argument
@click.option("--local", type=click.IntRange(1, 64), help="Start this many workers here first.")
@nodes_option
@hosts_option
@wheels_option
@sudo_password_option
@insecure_option
@context_option
@click.option(
    "--objective",
    type=click.Choice([objective.value for objective in Objective]),
    default=Objective.THROUGHPUT.value,
    show_default=True,
    metavar="GOAL",
    help="throughput, for many users and long prompts; or latency, for the next token of one.",
)
@texts_option
@replicas_option
@draft_model_option
@cluster_option
@click.pass_context
def up(
    click_context: click.Context,
    model: str | None,
    local: int | None,
    nodes: str | None,
    hosts: str | None,
    wheels: Path | None,
    ask_sudo_password: bool,
    insecure: bool,
    context: int | None,
    texts: int,
    objective: str,
    replicas: int,
    draft_model: str | None,
    cluster: str,
) -> None:
    """Bring a model up on the nodes.

    Its layers are planned over the nodes, shards handed out and loaded, and a token goes round.

    MODEL is a store, a checkpoint's folder, a GGUF file, or the name of a model that was pulled;
    what is no store yet becomes one first. Without MODEL it is the model that is up, with its
    --context, --texts, --objective, --replicas and --draft-model; at first, and after `down`, the
    embedded storyteller.

    With --hosts the hosts are set up by SSH first, which is remembered. Without --local, --nodes or
    --hosts the nodes are the hosts that are remembered and those that mDNS finds, or else those of
    --local or --nodes when the model that is up was brought up; with these options, they are only
    those.
    """
    if hosts and (local or nodes):
        raise click.UsageError("--hosts names the nodes itself: leave out --local and --nodes")
    if local:
        check_able()
    named = read_hosts(hosts) if hosts else []
    with in_turn(cluster) as folder:
        previous = what_is_up(cluster)
        before = previous.call if previous else None
        given = find_source(model).said if model else ""
        call = UpCall(
            *(given, local or 0, nodes or "", context, texts, Objective(objective)),
            *(replicas, model_of(draft_model)),
        )
        call = call if model else call.for_model_of(before, left_out(click_context))
        opened = open_store(call, before, cluster)
        dialer = dialer_for(cluster, insecure)
        results: list[Result] = []
        if not (local or nodes or hosts):
            named = [known.host for known in load_hosts(cluster)]
        if named:
            size_bytes = sum(file.size_bytes for file in opened.manifest.files)
            password = ask_password() if ask_sudo_password else None
            options = SetupOptions(wheels, password, insecure)
            results = set_up_hosts(cluster, folder, named, options, dialer, size_bytes)
        ready = [result.peer for result in results if result.peer]
        may_join = bool(nodes or not (local or hosts))
        joined = admit_waiting(cluster, nodes, dialer) if may_join else []
        if not (local or nodes or named or joined):
            call = call.on_nodes_of(before)
        if ready:
            found = with_announced(ready, cluster, dialer, look=not hosts)
        elif local or nodes:
            found = named_nodes(call, cluster, dialer)
        else:
            found = nodes_as_before(call, cluster, dialer)
        remember_nodes(folder, [node.peer for node in found])
        output.warn(renew_certificates(cluster, found, dialer))
        change = Change(cluster, folder, previous, call, insecure)
        try:
            rollout = bring_up(change, opened, found, dialer)
        except StoreError as error:
            if call.model and not Path(call.model).is_absolute():
                error.add_note(f"it was pulled: `{line('pull', call.model)}` mends it")
            raise
        finally:
            tell_failures(results)
        coordinators = [one.host for one in results if not one.failure and not one.peer]
        not_granted = bring_grants(cluster, coordinators)
    have_stand_by(rollout, call.replicas)
    output.warn(not_granted)
    if not_granted or any(result.failure for result in results):
        click_context.exit(1)
