"""Nodes that are offered become a pipeline that is ready, and people see how."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pi_cluster.cluster.advice import command
from pi_cluster.cluster.errors import ClusterError, NodeError, PipelineBusy, StaleEpoch
from pi_cluster.cluster.store.store import Store
from pi_cluster.cluster.wire.dialing import Dialer
from pi_cluster.coordinator.pipeline.nodes import Node
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
from pi_cluster.coordinator.records.events import EventKind, EventLog
from pi_cluster.coordinator.records.kept_record import prepare_record, put_in_place, save_record
from pi_cluster.coordinator.records.pipeline_record import PipelineRecord
from pi_cluster.coordinator.records.recorded_draft import RecordedDraft
from pi_cluster.coordinator.records.up_call import UpCall
from pi_cluster.coordinator.trouble import listed
from pi_cluster.deploy.drafting.choosing import draft_of_call
from pi_cluster.deploy.screen import output
from pi_cluster.deploy.screen.copies_view import copies_line
from pi_cluster.deploy.screen.draft_view import expected_of_drafts
from pi_cluster.deploy.screen.plan_table import context_note, expected, plan_table
from pi_cluster.deploy.way_out import after_a_try
from pi_cluster.transformer.config_form import read_config


@dataclass(frozen=True, slots=True)
class Change:
    """What is asked for, and what it takes the place of."""

    cluster: str
    folder: Path
    previous: PipelineRecord | None
    call: UpCall
    insecure: bool
    draft: RecordedDraft | None = None
    """The draft model beside it, once that is chosen."""

    def record(self, rollout: Rollout, epoch: int) -> PipelineRecord:
        """What is remembered of the pipeline that comes of it."""
        made = recorded(rollout, epoch, self.folder, self.insecure, self.call)
        return replace(made, draft=self.draft)


def bring_up(change: Change, store: Store, nodes: Sequence[Node], dialer: Dialer) -> Rollout:
    """Returns what is up now, with the copies that have yet to be handed out."""
    config = read_config(store.manifest.config)
    call, previous = change.call, change.previous
    limits = choose_limits(config, call.context, call.texts)
    change = replace(change, draft=draft_of_call(call, store, limits, nodes, previous))
    rollout = make_rollout(
        *(store, nodes, limits, previous, call.objective, dialer, output.measuring, change.draft)
    )
    output.notes.print(plan_table(rollout.plan, rollout.prediction, rollout.nodes))
    output.notes.print(expected(rollout.prediction))
    if change.draft:
        said = expected_of_drafts(change.draft, rollout.prediction)
        output.notes.print(said, markup=False, soft_wrap=True)
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


def have_stand_by(rollout: Rollout, replicas: int) -> None:
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


def _carry_out(change: Change, rollout: Rollout, store: Store) -> None:
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
