"""How a pipeline is, as plain values for programs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from pi_cluster.cluster.heat import share_left
from pi_cluster.coordinator.pipeline.watching import StageLook
from pi_cluster.coordinator.records.pipeline_record import PipelineRecord
from pi_cluster.protos import pi_cluster_pb2 as pb


@dataclass(frozen=True, slots=True)
class StageStatus:
    """A stage and its node. Figures of a node that does not answer are 0 or None."""

    node: str
    node_id: str
    address: str
    layers: str
    """Such as ``0:8``: from the first up to but not including the last."""
    state: str
    """``ready``, ``busy``, ``lost``, or what else stands in its place."""
    is_well: bool
    """Whether the stage serves this pipeline."""
    problem: str
    """More of a stage that is not well; empty where no more is known."""
    coordinator: str
    """Who holds the pipeline; empty if nobody."""
    texts: int
    weight_bytes: int
    cache_bytes: int
    memory_bytes: int
    """Of the whole machine, as is what is free."""
    free_memory_bytes: int
    short_of_memory: bool
    """Whether it nears its limit: no new texts begin meanwhile."""
    temperature_c: float | None
    slowed_to: float
    """The part of its clock that its firmware leaves it; 1 where nothing is wrong."""
    disk_problem: str
    """What keeps the node from writing; else empty."""
    rows_ps: float | None
    """Positions a second since the status before; None the first time."""
    version: str

    @classmethod
    def of(cls, look: StageLook) -> Self:
        """What a look has seen."""
        about = look.about or pb.NodeDescription()
        return cls(
            node=look.stage.name,
            node_id=look.stage.node_id,
            address=look.stage.address,
            layers=str(look.stage.layers),
            state=look.state,
            is_well=look.is_well,
            problem=look.why,
            coordinator=look.coordinator,
            texts=about.stage.sequences,
            weight_bytes=about.stage.weight_bytes,
            cache_bytes=about.stage.cache_bytes,
            memory_bytes=about.memory_bytes,
            free_memory_bytes=about.free_memory_bytes,
            short_of_memory=about.short_of_memory,
            temperature_c=about.temperature_c or None,
            slowed_to=share_left(about),
            disk_problem=about.disk_problem,
            rows_ps=look.rows_ps,
            version=about.version,
        )


@dataclass(frozen=True, slots=True)
class PipelineStatus:
    """All stages in the order of the pipeline."""

    cluster: str
    epoch: int
    """Grows with each ``up``."""
    stages: tuple[StageStatus, ...]

    @property
    def is_well(self) -> bool:
        """Whether every stage serves this pipeline."""
        return all(stage.is_well for stage in self.stages)

    @property
    def rows_ps(self) -> float | None:
        """Positions a second that came out at the end; None the first time."""
        return self.stages[-1].rows_ps

    @classmethod
    def of(cls, record: PipelineRecord, looks: Sequence[StageLook]) -> Self:
        """What a look at each stage has seen."""
        return cls(record.folder.name, record.epoch, tuple(map(StageStatus.of, looks)))
