"""What a plan will reach in tokens per second, by what was measured of its nodes and links.

Short texts are meant: attention, which grows with the text, is not counted. A stage computes
while the one before it computes on the next step, so many steps go by the slowest, and a single
one by the sum. Nodes of one machine share its cores and its memory while they are busy at once.
"""

import collections
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pi_cluster.cluster.speed import STEP_COST_S, Link
from pi_cluster.coordinator.planning.costs import ModelFootprint
from pi_cluster.coordinator.planning.plan import NodeCapacity, Plan

USERS = 4
PROMPT_TOKENS = 512
CHUNK_ROWS = 64

_IDS_BYTES = 16  # of a step with one token id, and of a result with one candidate


@dataclass(frozen=True, slots=True)
class Prediction:
    """Tokens per second of one plan, and where they are lost."""

    decode_tps: float
    """One user."""
    users_tps: float
    """``USERS`` users together."""
    prefill_tps: float
    """A prompt of ``PROMPT_TOKENS`` in chunks of ``CHUNK_ROWS``."""
    stage_s: tuple[float, ...]
    """Seconds of each stage for one token."""
    links_s: tuple[float, ...]
    """Of one token's message to each stage, and back to the coordinator."""

    @property
    def slowest(self) -> int:
        """Index of the slowest stage."""
        return max(range(len(self.stage_s)), key=self.stage_s.__getitem__)


def predict(
    footprint: ModelFootprint,
    plan: Plan,
    nodes: Mapping[str, NodeCapacity],
    links: Sequence[Link],
) -> Prediction:
    """Predict what ``bench`` measures. ``nodes`` by id; ``links`` lead from the coordinator to
    the first stage, from stage to stage, and back: one more than there are stages.
    """
    assert len(links) == len(plan.stages) + 1
    pipeline = _Pipeline(footprint, plan, [nodes[stage.node_id] for stage in plan.stages], links)
    stages, messages = pipeline.stages_s(1, 1), pipeline.links_s(1)
    return Prediction(
        decode_tps=1 / (STEP_COST_S + sum(stages) + sum(messages)),
        users_tps=USERS / pipeline.round_s(USERS),
        prefill_tps=PROMPT_TOKENS / pipeline.prompt_s(PROMPT_TOKENS, CHUNK_ROWS),
        stage_s=tuple(stages),
        links_s=tuple(messages),
    )


@dataclass(frozen=True, slots=True)
class _Pipeline:
    footprint: ModelFootprint
    plan: Plan
    nodes: Sequence[NodeCapacity]
    links: Sequence[Link]

    def stages_s(self, rows: int, head_rows: int) -> list[float]:
        """Seconds of each stage on a step, nothing else running on its machine."""
        return [
            self.footprint.stage_s(node.speed, stage.layers, rows, head_rows)
            for node, stage in zip(self.nodes, self.plan.stages, strict=True)
        ]

    def links_s(self, rows: int) -> list[float]:
        """Seconds of a step's message over each link."""
        sizes = [_IDS_BYTES] + [rows * self.footprint.row_bytes] * (len(self.nodes) - 1)
        sizes.append(_IDS_BYTES)
        return [link.message_s(size) for link, size in zip(self.links, sizes, strict=True)]

    def round_s(self, users: int) -> float:
        """Seconds until each of the users has a token, in as many groups as there are stages."""
        groups = min(users, len(self.nodes))
        rows = -(-users // groups)
        stages = self.stages_s(rows, rows)
        alone = STEP_COST_S + sum(stages) + sum(self.links_s(rows))
        return max(alone, groups * self._cycle_s(stages, rows, rows))

    def prompt_s(self, tokens: int, chunk_rows: int) -> float:
        """Seconds of a prompt: its first chunk passes all stages, the others follow the slowest."""
        stages = self.stages_s(chunk_rows, 0)
        messages = self.links_s(chunk_rows)
        chunks = -(-tokens // chunk_rows)
        head_s = self.footprint.head_s(self.nodes[-1].speed, 1)
        through = STEP_COST_S + sum(stages) + sum(messages) + head_s
        return through + (chunks - 1) * self._cycle_s(stages, chunk_rows, 0)

    def _cycle_s(self, stages: Sequence[float], rows: int, head_rows: int) -> float:
        """Seconds from step to step where all stages are busy: the slowest stage's or link's, or
        what a machine takes for the steps of all its stages.
        """
        transfers = [rows * self.footprint.row_bytes / link.bytes_ps for link in self.links[1:-1]]
        cores: dict[str, float] = collections.defaultdict(float)
        reading: dict[str, float] = collections.defaultdict(float)
        for i, (node, stage) in enumerate(zip(self.nodes, self.plan.stages, strict=True)):
            cores[node.machine_id] += stages[i] * node.speed.macs_ps / node.machine_speed.macs_ps
            read_bytes = self.footprint.cost(stage.layers).weight_bytes
            if head_rows and self.footprint.has_head(stage.layers):
                read_bytes += self.footprint.head_bytes
            reading[node.machine_id] += read_bytes / node.machine_speed.read_bytes_ps
        return max(*stages, *transfers, *cores.values(), *reading.values())
