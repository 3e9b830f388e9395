"""``pi-cluster up``: from a model to a pipeline that is ready."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from pi_cluster.cluster.advice import command, line
from pi_cluster.cluster.errors import ClusterError, NodeError, PipelineBusy, StaleEpoch, StoreError
from pi_cluster.cluster.store.store import Store
from pi_cluster.cluster.wire.dialing import Dialer
from pi_cluster.coordinator.pipeline.nodes import Node
from pi_cluster.coordinator.pipeline.renewal import renew_certificates
from pi_cluster.coordinator.pipeline.rollout import (
    Rollout,
    is_running,
    load_stages,
    make_rollout,
    next_epoch,
    recorded,
    try_pipeline,
    unload_left_out,
)
from pi_cluster.coordinator.pipeline.standing_by import lacking_copies, with_copies
from pi_cluster.coordinator.pipeline.transfer import Moved, hand_out_copies, hand_out_shards
from pi_cluster.coordinator.planning.footprint import choose_limits
from pi_cluster.coordinator.planning.objective import Objective
from pi_cluster.coordinator.records.events import EventKind, EventLog
from pi_cluster.coordinator.records.known_hosts import load_hosts
from pi_cluster.coordinator.records.known_nodes import remember_nodes
from pi_cluster.coordinator.records.pipeline_record import (
    PipelineRecord,
    changing,
    prepare_record,
    put_in_place,
    save_record,
)
from pi_cluster.coordinator.records.up_call import UpCall
from pi_cluster.coordinator.trouble import listed
from pi_cluster.deploy.as_before import open_store, what_is_up
from pi_cluster.deploy.calling import dialer_for
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
from pi_cluster.deploy.screen.copies_view import copies_line
from pi_cluster.deploy.screen.plan_table import context_note, expected, plan_table
from pi_cluster.deploy.way_out import after_a_try
from pi_cluster.transformer.config_form import read_config
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
    cluster: str,
) -> None:
    """Bring a model up on the nodes.

    Its layers are planned over the nodes, shards handed out and loaded, and a token goes round.

    MODEL is a store, a checkpoint's folder, a GGUF file, or the name of a model that was pulled;
    what is no store yet becomes one first. Without MODEL it is the model that is up, with its
    --context, --texts, --objective and --replicas; at first, and after `down`, the embedded
    storyteller.

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
    with changing(cluster) as folder:
        previous = what_is_up(cluster)
        before = previous.call if previous else None
        given = find_source(model).said if model else ""
        call = UpCall(
            given, local or 0, nodes or "", context, texts, Objective(objective), replicas
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
        change = _Change(cluster, folder, previous, call, insecure)
        try:
            rollout = _bring_up(change, opened, found, dialer)
        except StoreError as error:
            if call.model and not Path(call.model).is_absolute():
                error.add_note(f"it was pulled: `{line('pull', call.model)}` mends it")
            raise
        finally:
            tell_failures(results)
        coordinators = [one.host for one in results if not one.failure and not one.peer]
        not_granted = bring_grants(cluster, coordinators)
    _have_stand_by(rollout, call.replicas)
    output.warn(not_granted)
    if not_granted or any(result.failure for result in results):
        click_context.exit(1)


@dataclass(frozen=True, slots=True)
class _Change:
    """What is asked for, and what it takes the place of."""

    cluster: str
    folder: Path
    previous: PipelineRecord | None
    call: UpCall
    insecure: bool

    def record(self, rollout: Rollout, epoch: int) -> PipelineRecord:
        return recorded(rollout, epoch, self.folder, self.insecure, self.call)


def _bring_up(change: _Change, store: Store, nodes: Sequence[Node], dialer: Dialer) -> Rollout:
    """Returns what is up now, with the copies that have yet to be handed out."""
    config = read_config(store.manifest.config)
    call, previous = change.call, change.previous
    limits = choose_limits(config, call.context, call.texts)
    rollout = make_rollout(store, nodes, limits, previous, call.objective, dialer, output.measuring)
    output.notes.print(plan_table(rollout.plan, rollout.prediction, rollout.nodes))
    output.notes.print(expected(rollout.prediction))
    rollout = with_copies(rollout, call.replicas, previous)
    if line := copies_line(rollout.copies, store.manifest.n_layers):
        output.notes.print(line, markup=False, soft_wrap=True)
    if note := context_note(config, rollout.limits):
        output.notes.print(note)
    if previous and is_running(rollout, previous) and (well := _is_well(previous, rollout)):
        save_record(change.record(rollout, previous.epoch), store)
        output.notes.print(f"already up: nothing to move; {well}", markup=False, soft_wrap=True)
    else:
        _carry_out(change, rollout, store)
    return rollout


def _is_well(previous: PipelineRecord, rollout: Rollout) -> str | None:
    """How it is known that a loaded pipeline works: a token went round; None when none comes back.

    One that is held is left alone: its holder would notice what is wrong with it.
    """
    stages = [rollout.node(stage).about.stage for stage in rollout.plan.stages]
    if holder := next((stage.coordinator for stage in stages if stage.coordinator), ""):
        return f"it is held by {holder}"
    try:
        try_pipeline(previous, rollout.dialer, output.notice)
    except PipelineBusy:
        return "it is busy"
    except ClusterError as error:
        output.warn([f"all stages are loaded, and no token goes round: {error}; loading anew"])
        return None
    return "a token went round"


def _carry_out(change: _Change, rollout: Rollout, store: Store) -> None:
    record = change.record(rollout, next_epoch(rollout, change.previous))
    prepare_record(record, store)
    with output.bars() as progress:
        moved = hand_out_shards(rollout, output.TransferBars(progress))
    with output.notes.status("loading"):
        try:
            load_stages(rollout, record.epoch)
        except StaleEpoch as error:
            raise StaleEpoch(f"{error}: run the same command again") from None
        try:
            try_pipeline(record, rollout.dialer, output.notice)
        except NodeError as error:
            error.add_note(after_a_try(change.cluster, record, rollout.dialer))
            raise
        put_in_place(record)
        warnings = unload_left_out(rollout, change.previous)
    _note_event(change.cluster, record)
    output.warn(warnings)
    stages = output.count(len(record.stages), "stage")
    asking = command(change.cluster, "prompt", "Tell me a story about a brave fox.")
    output.notes.print(
        f"ready: {stages}, {_moved(moved)}. Next: {asking}", markup=False, soft_wrap=True
    )


def _have_stand_by(rollout: Rollout, replicas: int) -> None:
    """Hand the copies out, now that the pipeline can be asked, and mended too: nothing is held."""
    if rollout.copies:
        with output.bars() as progress:
            moved, failures = hand_out_copies(rollout, output.TransferBars(progress))
        output.warn(
            f"not all copies stand by on {rollout.nodes[node_id].label}: {error}"
            for node_id, error in failures.items()
        )
        where = output.count(len(rollout.copies) - len(failures), "node")
        output.notes.print(f"copies stand by on {where}, {_moved(moved)}", markup=False)
    if replicas > 1 and (lacking := lacking_copies(rollout, replicas)):
        output.warn([lacking])


def _note_event(cluster: str, record: PipelineRecord) -> None:
    names = [stage.name for stage in record.addresses]
    model = (record.call.model if record.call else "") or "the storyteller"
    said = f"{model} is up on {listed(names)}"
    EventLog(cluster).note(EventKind.UP, said, {"epoch": record.epoch, "nodes": names})


def _moved(moved: Moved) -> str:
    total = f"{output.size(moved.from_operator + moved.between_nodes)} moved"
    if not moved.between_nodes:
        return total
    here, between = output.size(moved.from_operator), output.size(moved.between_nodes)
    return f"{total} ({here} from here, {between} between nodes)"
