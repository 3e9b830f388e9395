"""What pipelines of real workers reach, each figure beside what it is compared with, in turn."""

import statistics
from dataclasses import dataclass, field
from operator import ge, le
from typing import Any, Self

from benchmarks.json_process import JsonProcess
from benchmarks.kernels.peer_process import PeerProcess
from benchmarks.kernels.report import Row, in_words
from benchmarks.kernels.versus import EARLY, PREFILL_ROWS, Pair, fastest, in_turn

ONE, TWO, SMALL = "one", "two", "small"
"""Pipelines: one worker with all layers, two with half of them each, and the embedded model's."""

USERS = 4
_USERS_PROMPT = 16
_TOKENS = 16
_SMALL_TOKENS = 200
_PEER_STEPS, _TRIAL_ROWS = 3, 64


@dataclass(frozen=True, slots=True)
class Peer:
    """The peer with the layers loaded, or the reason why there is none."""

    process: PeerProcess | None
    ways: list[str]
    reason: str = ""

    @classmethod
    def opened(cls, process: PeerProcess) -> Self:
        """Let it load the layers in all its ways."""
        return cls(process, process.ask("open_stage", long=False)["ways"])


@dataclass(frozen=True, slots=True)
class UserTimes:
    """Seconds from token to token of each user, all of a pipeline's users at once."""

    two: list[float] = field(default_factory=list)
    one: list[float] = field(default_factory=list)
    halved: list[float] = field(default_factory=list)
    """With half as many users on one worker, whose steps then have the rows that two have."""


def compare_users(coordinator: JsonProcess, rounds: int) -> UserTimes:
    """The same users on two workers and on one."""
    times = UserTimes()
    parts = ((TWO, USERS, times.two), (ONE, USERS, times.one), (ONE, USERS // 2, times.halved))
    for _ in range(rounds):
        for name, users, seconds in parts:
            asked = {"users": users, "prompt": _USERS_PROMPT, "tokens": 2 * _TOKENS}
            seconds += coordinator.ask("decode", name=name, **asked)["seconds"]
    return times


def compare_decode(coordinator: JsonProcess, peer: Peer, rounds: int) -> Pair:
    """One user's tokens on two workers, and the peer's steps, near position 100."""

    def ours() -> list[float]:
        asked = {"users": 1, "prompt": EARLY - _TOKENS // 2, "tokens": _TOKENS}
        return list(_seconds(coordinator, "decode", name=TWO, **asked))

    def theirs(way: str) -> list[float]:
        return list(_seconds(peer.process, "decode", way=way, position=EARLY, steps=_PEER_STEPS))

    ours()
    return in_turn(ours, theirs, fastest(peer.ways, theirs), rounds)


def compare_prefill(coordinator: JsonProcess, peer: Peer, rounds: int) -> Pair:
    """A prompt on two workers, from the request to the first token, and the peer's step."""

    def ours() -> list[float]:
        return [_seconds(coordinator, "prefill", name=TWO, rows=PREFILL_ROWS)]

    def theirs(way: str, rows: int = PREFILL_ROWS) -> list[float]:
        return [_seconds(peer.process, "prefill", way=way, rows=rows)]

    def trial(way: str) -> list[float]:
        return theirs(way, _TRIAL_ROWS)

    # The coordinator learns on the first prompts which chunks suit the workers.
    for _ in range(2):
        ours()
    return in_turn(ours, theirs, fastest(peer.ways, trial), rounds)


def measure_overhead(coordinator: JsonProcess, rounds: int) -> float:
    """Seconds a stage that a step of one row takes beside computing, median."""
    asked = {"name": SMALL, "prompt": _USERS_PROMPT, "tokens": _SMALL_TOKENS}
    seconds: list[float] = []
    for _ in range(rounds):
        seconds += _seconds(coordinator, "overhead", **asked)
    return statistics.median(seconds)


def users_row(times: UserTimes) -> Row:
    """How much faster the users' texts grow on two workers than on one."""
    two, one, halved = map(statistics.median, (times.two, times.one, times.halved))
    note = (
        f"a token of each in {1e3 * two:.0f} ms, in {1e3 * one:.0f} ms on one worker, which reads "
        f"its weights for {USERS} rows at once; with {USERS // 2} users there, as many rows a step "
        f"as on two: {1e3 * halved:.0f} ms, so {2 * halved / two:.2f} x its tokens"
    )
    what = f"2 workers, {USERS} users : the same users on 1"
    return Row("users", what, ge, 1.85, "x", one / two, note)


def peer_row(key: str, what: str, bound: float, pair: Pair | None, reason: str) -> Row:
    """Two workers against the peer; ``reason`` is why it is not measured, if it is not."""
    if pair is None or pair.peer is None:
        return Row(key, what, ge, bound, "x", None, reason)
    return Row(key, what, ge, bound, "x", pair.ratio, in_words(pair))


def overhead_row(seconds: float) -> Row:
    """What coordinator, gRPC and loopback add to computing."""
    what = "coordinator and network per step and stage"
    note = "embedded model, 3 workers, loopback; step to step, less the stages' computing"
    return Row("overhead", what, le, 0.3, "ms", 1e3 * seconds, note)


def _seconds(process: JsonProcess | None, do: str, **values: Any) -> Any:
    assert process is not None
    return process.ask(do, **values)["seconds"]
