"""Where a draft model guesses, what that takes from the pipeline, and what it may bring. Pure.

A small model beside the pipeline guesses tokens, which fill the stages that one user leaves idle.
"""

import collections
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pi_cluster.cluster.errors import PlanError
from pi_cluster.cluster.speed import Speed
from pi_cluster.coordinator.planning.costs import ModelFootprint
from pi_cluster.coordinator.planning.plan import HEADROOM, NodeCapacity
from pi_cluster.coordinator.planning.prediction import Prediction

ASSUMED_RIGHT = 0.7
"""Share of guesses taken to be right before any were made.

Llama 3.2 1B for Llama 3.1 8B had 72 % right in one text that llama.cpp was tried with (its issue
5877). It depends on models and texts."""


@dataclass(frozen=True, slots=True)
class PlacedDraft:
    """A machine with a draft model on it."""

    machine_id: str
    token_s: float
    """Seconds for one guess, by what was measured of the machine."""
    memory_bytes: int
    """Weights, caches and activations."""
    weight_bytes: int
    """That one guess reads."""


def place_draft(
    machine_id: str, footprint: ModelFootprint, speed: Speed, sharing: int = 0
) -> PlacedDraft:
    """The draft model of this footprint on a machine of this speed.

    Where as many nodes of the pipeline are ``sharing`` the machine, a guess waits for their part.
    """
    weights = sum(layer.weight_bytes for layer in footprint.layers) + footprint.head_bytes
    token_s = footprint.stage_s(speed, footprint.all_layers, rows=1, head_rows=1)
    memory = footprint.memory_bytes(footprint.all_layers)
    return PlacedDraft(machine_id, token_s * (1 + sharing), memory, weights)


def check_memory(draft: PlacedDraft, free_bytes: int) -> None:
    """Raise ``PlanError`` where a machine has not the memory for its draft model."""
    usable = int(free_bytes * (1 - HEADROOM))
    if draft.memory_bytes > usable:
        raise PlanError(
            f"the draft model takes {_gib(draft.memory_bytes)} on this machine, and "
            f"{_gib(usable)} are usable: take a smaller one, lower --context, or run this command "
            "on a machine with more memory"
        )


def beside(
    draft: PlacedDraft, footprint: ModelFootprint, nodes: Sequence[NodeCapacity]
) -> list[NodeCapacity]:
    """What nodes offer to a plan of ``footprint`` once a draft model has taken its share.

    Its memory is taken off that of nodes on the same machine. And of what such a machine reads,
    the draft model's weights are a part for each token, beside an even part of the layers for each
    node.
    """
    sharing = collections.Counter(node.machine_id for node in nodes)
    count = sharing[draft.machine_id]
    if not count:
        return list(nodes)
    layers = footprint.cost(footprint.all_layers).weight_bytes + footprint.head_bytes
    here = count * layers / len(nodes)
    left = here / (here + draft.weight_bytes)
    memory = draft.memory_bytes // count
    return [
        replace(
            node,
            free_memory_bytes=max(0, node.free_memory_bytes - memory),
            speed=node.speed.slowed_to(left),
            machine_speed=node.machine_speed.slowed_to(left),
        )
        if node.machine_id == draft.machine_id
        else node
        for node in nodes
    ]


@dataclass(frozen=True, slots=True)
class Expectation:
    """What one user's answers are expected to reach with drafts."""

    decode_tps: float
    without_tps: float
    right: float
    """The share of guesses that this takes to be right."""

    @property
    def pays(self) -> bool:
        """Whether drafts make an answer faster; where they do not, they are left off."""
        return self.decode_tps > self.without_tps


def expect(prediction: Prediction, token_s: float, right: float = ASSUMED_RIGHT) -> Expectation:
    """The rate of one user where a guess takes ``token_s`` and ``right`` of them are.

    A text goes on by one token each time the next guess is there and was computed with, as long as
    guesses are right. After a wrong one the right token passes all stages before it is followed,
    and waits for half a step of the slowest on its way. So a token takes, on average,
    ``right * next + (1 - right) * (all + slowest / 2)``.
    """
    all_s, slowest_s = 1 / prediction.decode_tps, max(prediction.stage_s)
    # Rows that follow each other take what the slowest stage takes for a row of a prompt.
    next_s = max(token_s, 1 / prediction.prefill_tps)
    with_s = right * next_s + (1 - right) * (all_s + slowest_s / 2)
    return Expectation(max(1 / with_s, prediction.decode_tps), prediction.decode_tps, right)


def _gib(size: int) -> str:
    return f"{size / 2**30:.2f} GiB"
