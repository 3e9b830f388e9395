"""What is measured of one generation while it runs."""

import collections
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Self

from pi_cluster.coordinator.stage_address import StageAddress
from pi_cluster.coordinator.steps import StepResult
from pi_cluster.coordinator.timings import StageFigures, Timings


@dataclass(slots=True)
class StageTotal:
    """Sums over the steps of one phase, in seconds."""

    compute_s: float = 0.0
    wait_s: float = 0.0
    """The stage had nothing to do, the first step's wait for the request left out."""


@dataclass(slots=True)
class Measurement:
    """Collects one generation's times as it runs."""

    stages: Sequence[StageAddress]
    requested_at: float = field(default_factory=time.perf_counter)
    prefill_began: float = 0.0
    first_token_at: float = 0.0
    last_token_at: float = 0.0
    gaps_s: list[float] = field(default_factory=list)
    """Times between a token and the next; nearly 0 between those that one step gave."""
    hops_s: list[float] = field(default_factory=list)
    """Mean time of one link crossing, for each decode step."""
    right_by: collections.Counter[str] = field(default_factory=collections.Counter)
    wrong_by: collections.Counter[str] = field(default_factory=collections.Counter)
    """Guesses by who made them. Of wrong ones only the first of those that followed each other: the
    others were never decided."""
    forced: int = 0
    """Generated tokens for which a constraint left no choice."""
    cached_tokens: int = 0
    """Of the prompt's: those that were not computed again."""
    was_let_in: bool = False
    """Whether the prompt has had its place in the caches before, in this session or another."""
    prefill: list[StageTotal] = field(init=False)
    decode: list[StageTotal] = field(init=False)
    _steps: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.prefill = [StageTotal() for _ in self.stages]
        self.decode = [StageTotal() for _ in self.stages]

    def going_on(self, stages: Sequence[StageAddress]) -> Self:
        """The same text's times in another session, whose stages begin to be counted anew."""
        again = replace(self, stages=stages)
        if not self.first_token_at:
            again.prefill_began = 0.0
        return again

    def begin_prefill(self, now: float) -> None:
        """A step is sent; the first one begins prefill."""
        self.prefill_began = self.prefill_began or now

    def add_step(self, result: StepResult, round_trip_s: float | None, is_prefill: bool) -> None:
        """A step came back; ``round_trip_s`` is given for a step that travelled alone."""
        totals = self.prefill if is_prefill else self.decode
        for total, stage in zip(totals, result.stages, strict=True):
            total.compute_s += stage.compute_s
            if self._steps:
                total.wait_s += stage.idle_s
        if round_trip_s is not None and not is_prefill:
            at_stages = sum(stage.compute_s + stage.queued_s for stage in result.stages)
            self.hops_s.append(max(0.0, round_trip_s - at_stages) / (len(self.stages) + 1))
        self._steps += 1

    def add_token(self) -> None:
        """A token was sampled."""
        now = time.perf_counter()
        if self.first_token_at:
            self.gaps_s.append(now - self.last_token_at)
        else:
            self.first_token_at = now
        self.last_token_at = now

    def add_guess(self, by: str, is_right: bool) -> None:
        """A token that somebody guessed was compared with the one sampled in its place."""
        (self.right_by if is_right else self.wrong_by)[by] += 1

    @property
    def right_guesses(self) -> int:
        """Of everybody."""
        return self.right_by.total()

    @property
    def wrong_guesses(self) -> int:
        """Of everybody."""
        return self.wrong_by.total()

    def timings(self, prompt_tokens: int, generated_tokens: int) -> Timings:
        """What is known so far; all zero before the first token."""
        if not self.first_token_at:
            return Timings(
                *(0.0, 0.0, 0.0, 0.0, prompt_tokens, generated_tokens, self.cached_tokens)
            )
        began = self.prefill_began or self.first_token_at  # a text may be forced as a whole
        return Timings(
            load_s=began - self.requested_at,
            prefill_s=self.first_token_at - began,
            decode_s=self.last_token_at - self.first_token_at,
            ttft_s=self.first_token_at - self.requested_at,
            prompt_tokens=prompt_tokens,
            generated_tokens=generated_tokens,
            cached_tokens=self.cached_tokens,
        )

    def stage_figures(self) -> tuple[StageFigures, ...]:
        """One entry a stage, prefill and decode together."""
        return tuple(
            StageFigures(
                node=stage.name,
                layers=str(stage.layers),
                compute_s=prefill.compute_s + decode.compute_s,
                wait_s=prefill.wait_s + decode.wait_s,
            )
            for stage, prefill, decode in zip(self.stages, self.prefill, self.decode, strict=True)
        )
