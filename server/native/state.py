"""What `/cluster/v1/state` tells, field for field."""

from typing import Literal

import msgspec

Condition = Literal["ready", "healing", "lost", "replaced"]


class ServedModel(msgspec.Struct):
    """The model that is up."""

    id: str
    """As in ``/v1/models``."""
    layers: int
    context: int | None
    """Positions of one text; None where a window rolls on."""
    thinks: bool
    """Whether it thinks before it answers, always or when it is told to."""


class StageState(msgspec.Struct):
    """A stage and its node. What is not known is None."""

    node: str
    layers: tuple[int, int]
    """From the first up to but not including the last."""
    state: str
    """``ready``, ``busy``, ``lost``, or what else stands in its place."""
    is_well: bool
    why: str
    """More of a stage that is not well."""
    load: float | None
    """Share, 0 to 1, of the last seconds in which it computed."""
    rows_ps: float | None
    """Positions a second: of prompts, of answers, and guessed ones."""
    temperature_c: float | None
    memory_bytes: int | None
    """Of the whole machine, as is what is free."""
    free_memory_bytes: int | None
    stage_bytes: int | None
    """Weights and caches."""


class RequestCounts(msgspec.Struct):
    """Of all who ask at this server."""

    running: int
    waiting: int
    expected_wait_s: float | None
    """Of one who would come now; None while nothing is known of it."""


class TokenCounts(msgspec.Struct):
    """Sums since this server began, or since another model came up."""

    prompt: int
    """That were read, as they were, and not held already."""
    cached: int
    generated: int


class HealCounts(msgspec.Struct):
    """Sums since this server began, or since another model came up."""

    healed: int
    """Sessions that were lost and followed by one that works."""
    not_healed: int
    """Losses that were given up."""
    seconds: float
    """How long those lasted together that were mended."""


class GuessCounts(msgspec.Struct):
    """Sums since this server began, or since another model came up."""

    by: str
    """Who made them, as ``model`` for a draft model."""
    right: int
    decided: int
    """The right ones, and those that the text went on without."""


class ClusterState(msgspec.Struct):
    """The cluster at one moment."""

    unix_s: float
    version: str
    """Of this program."""
    cluster: str
    epoch: int | None
    """Grows with each ``up``; None while no pipeline is up."""
    condition: Condition
    """``healing``: somebody waits for a node, or it is brought up anew; ``lost``: nobody does."""
    note: str
    """What is the matter and what to do; empty when all is well."""
    model: ServedModel
    stages: list[StageState]
    """In the order of the pipeline."""
    requests: RequestCounts
    tokens: TokenCounts
    heals: HealCounts
    guesses: list[GuessCounts] = []
