"""From what somebody calls a draft model to one that may guess on this machine."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pi_cluster.cluster.store.manifest import Manifest
from pi_cluster.cluster.store.store import Store
from pi_cluster.coordinator.pipeline.nodes import Node
from pi_cluster.coordinator.planning.draft_placing import check_memory, place_draft
from pi_cluster.coordinator.planning.footprint import draft_limits, model_footprint
from pi_cluster.coordinator.records.pipeline_record import PipelineRecord
from pi_cluster.coordinator.records.recorded_draft import RecordedDraft
from pi_cluster.coordinator.records.up_call import UpCall
from pi_cluster.deploy.drafting.own_machine import draft_threads, own_speed, stages_here
from pi_cluster.deploy.drafting.pairs import check_pair
from pi_cluster.deploy.models.model_source import find_recorded
from pi_cluster.deploy.models.sound_store import sound_store
from pi_cluster.deploy.screen import output
from pi_cluster.transformer.config_form import read_config
from pi_cluster.transformer.limits import Limits
from pi_cluster.worker.machine.offer import UsableMemory, machine_id


@dataclass(frozen=True, slots=True)
class Guessed:
    """The model whose texts are guessed."""

    name: str
    """For people."""
    folder: Path
    """Where its tokenizer's files lie."""
    manifest: Manifest
    context: int


def choose_draft(
    said: str, guessed: Guessed, workers_here: int, before: RecordedDraft | None = None
) -> RecordedDraft:
    """The draft model that was ``said``, on this machine beside as many workers.

    Its store is made on the way, if need be. Every byte of it is read, and its tokens are compared,
    unless it is the one that was chosen ``before`` for the same model. Raises ``StoreError`` where
    it is damaged or not there, ``DraftUnfit`` where its tokens are others, and ``PlanError`` where
    this machine has not the memory.
    """
    source = find_recorded(said)
    store = source.store()
    chosen = str(store.path.absolute()), store.manifest.digest
    if before is None or (before.store, before.digest) != chosen:
        sound_store(source)
        check_pair(
            *(guessed.name, guessed.folder, guessed.manifest),
            *(said, store.path, store.manifest),
        )
    config = read_config(store.manifest.config)
    limits = draft_limits(config, guessed.context)
    footprint = model_footprint(store.manifest, config, limits)
    threads = draft_threads(workers_here)
    with output.notes.status("measuring this machine"):
        speed = own_speed(threads)
    placed = place_draft(machine_id(), footprint, speed, workers_here)
    check_memory(placed, UsableMemory().free_bytes)
    return RecordedDraft(said, *chosen, threads, placed)


def draft_of_call(
    call: UpCall,
    store: Store,
    limits: Limits,
    nodes: Sequence[Node],
    previous: PipelineRecord | None,
) -> RecordedDraft | None:
    """The draft model that a call asks for, beside its model on these nodes; None without one.

    The pipeline that is up, if there is one, tells what was chosen before. Raises as
    `choose_draft` does.
    """
    if not call.draft_model:
        return None
    is_known = previous is not None and previous.manifest.digest == store.manifest.digest
    name = call.model or "the storyteller"
    guessed = Guessed(name, store.path, store.manifest, limits.context)
    here = sum(node.about.machine_id == machine_id() for node in nodes)
    before = previous.draft if previous and is_known else None
    return choose_draft(call.draft_model, guessed, here, before)


class GivenDraft:
    """The draft model that was given for whatever is up, instead of the one that is remembered."""

    def __init__(self, said: str) -> None:
        """Empty for none."""
        self._said = said
        self._digest = ""
        self._chosen: RecordedDraft | None = None

    def __call__(self, record: PipelineRecord) -> RecordedDraft | None:
        """It, as it fits the pipeline of a record; raises as `choose_draft` where it does not."""
        if self._said and record.manifest.digest != self._digest:
            name = (record.call.model if record.call else "") or "the storyteller"
            guessed = Guessed(name, record.folder, record.manifest, record.limits.context)
            here = stages_here(record.addresses)
            self._chosen = choose_draft(self._said, guessed, here)
            self._digest = record.manifest.digest
        return self._chosen
