"""What `up` remembers of a pipeline, so that `prompt` need not look for it again."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pi_cluster.cluster.errors import ClusterError
from pi_cluster.cluster.store.manifest import Manifest
from pi_cluster.cluster.store.store import Store
from pi_cluster.cluster.wire.peer import Peer
from pi_cluster.coordinator.planning.objective import Objective
from pi_cluster.coordinator.planning.prediction import CHUNK_ROWS, Prediction
from pi_cluster.coordinator.planning.standby import Copies, without_copies
from pi_cluster.coordinator.records.recorded_draft import RecordedDraft
from pi_cluster.coordinator.records.up_call import UpCall
from pi_cluster.coordinator.served_model import ServedModel
from pi_cluster.coordinator.stage_address import StageAddress
from pi_cluster.coordinator.step_times import StepTimes
from pi_cluster.transformer.limits import Limits

if TYPE_CHECKING:
    from pi_cluster.coordinator.scheduling.cache_limits import CacheLimits
    from pi_cluster.coordinator.text_model import TextModel

RECORD_NAME = "pipeline.json"
MANIFEST_NAME = "manifest.json"


@dataclass(frozen=True, slots=True)
class RecordedStage:
    """One stage as it was loaded."""

    where: StageAddress
    weight_bytes: int
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class PipelineRecord:
    """A pipeline that was brought up."""

    folder: Path
    epoch: int
    manifest: Manifest
    limits: Limits
    objective: Objective
    prediction: Prediction
    stages: tuple[RecordedStage, ...]
    unused: tuple[str, ...]
    """Ids of nodes that were offered and got no stage."""
    insecure: bool = False
    """Whether it was brought up, and is called, without certificates on other machines."""
    call: UpCall | None = None
    """What was asked for; None where an older `up` did not write it down."""
    store: str = ""
    """Where its store lay on this machine when it was brought up; empty where it did not."""
    absent: tuple[Peer, ...] = ()
    """Nodes that had a stage before and were lost: others do their work until they are back."""
    copies: tuple[Copies, ...] = ()
    """What nodes keep for the layers of others."""
    draft: RecordedDraft | None = None
    """The draft model that guesses here, beside it."""

    @property
    def addresses(self) -> tuple[StageAddress, ...]:
        """The stages in pipeline order."""
        return tuple(stage.where for stage in self.stages)

    @property
    def cache_limits(self) -> "CacheLimits":
        """What the caches have room for, as the scheduler counts it."""
        from pi_cluster.coordinator.scheduling.cache_limits import CacheLimits
        from pi_cluster.transformer.config_form import read_config

        return CacheLimits.of(read_config(self.manifest.config), self.limits)

    @property
    def model(self) -> ServedModel:
        """The bounds of the served model's ids and texts."""
        from pi_cluster.transformer.config_form import read_config

        config = read_config(self.manifest.config)
        return ServedModel(
            vocab_size=config.vocab_size,
            bos_id=self.manifest.bos_id,
            eos_ids=frozenset(self.manifest.eos_ids),
            context=None if config.widest_window else self.limits.context,
            made_for=config.max_positions,
            dim=config.dim,
            cluster=self.folder.name,
        )

    @property
    def files(self) -> list[Path]:
        """Where it lies, with what `prompt` needs of its store."""
        names = [file.name for file in self.manifest.tokenizer_files]
        return [self.folder / name for name in (*names, MANIFEST_NAME, RECORD_NAME)]

    @property
    def replicas(self) -> int:
        """On how many disks each shard is to lie."""
        return self.call.replicas if self.call else 1

    @property
    def lacking_copies(self) -> tuple[int, ...]:
        """Layers that lie on fewer, as in `Copies.layers`."""
        return without_copies(self.copies, self.manifest.n_layers, self.replicas)

    def in_place_of(self, before: "PipelineRecord") -> "PipelineRecord":
        """This pipeline where it serves the store of another one, which lost or got nodes.

        Where that store lies is still known, the draft model, and who had a stage then and has none
        now.
        """
        used = {stage.node_id for stage in self.addresses}
        known = [*before.absent, *(stage.peer for stage in before.addresses)]
        absent = {peer.node_id: peer for peer in known if peer.node_id not in used}
        return replace(self, store=before.store, draft=before.draft, absent=tuple(absent.values()))

    def open_store(self) -> Store | None:
        """Its store, if it still lies where it was brought up from."""
        try:
            store = Store(Path(self.store)) if self.store else None
        except ClusterError:
            return None
        return store if store and store.manifest.digest == self.manifest.digest else None

    def step_times(self) -> StepTimes:
        """What each stage should take for a step, for a session to begin with."""
        predicted = self.prediction
        return StepTimes(predicted.stage_s, predicted.prefill_tps, CHUNK_ROWS)

    def text_model(self) -> "TextModel":
        """The served model's tokenizer and chat template."""
        from pi_cluster.coordinator.text_model import TextModel

        return TextModel(self.folder, self.manifest)
