"""How fast a pipeline prefills and decodes, asked as programs ask it.

Each figure has a client of its own, so that nothing is remembered from the one before. Answers are
the likeliest ones, so that they are the same with and without drafts; they end as the model ends
them, for what goes on behind an end repeats itself and would flatter drafts.
"""

import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from pi_cluster import PipelineClient, as_they_come

USERS = (1, 4)
PROMPTS = (
    "Tell me a story about a brave fox and a lost kite.",
    "Explain to a child of ten how a bicycle stays upright.",
    "Describe a walk along the sea in winter, and what one hears there.",
    "How is vegetable soup made? Go through it step by step.",
)
"""Of as many users: ordinary questions, whose answers have little to copy from."""
_SEED = 20231010
_WAIT_S = 60.0  # for somebody who has the pipeline


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is measured."""

    prompt_tokens: int
    answer_tokens: int
    """At most, as the next: whichever comes first."""
    answer_s: float
    repeat: int
    """Prompts, of which the median counts."""
    prompts_s: float
    """After which no further prompt is begun."""


USUAL = Effort(prompt_tokens=512, answer_tokens=128, answer_s=60, repeat=3, prompts_s=90)
QUICK = Effort(prompt_tokens=64, answer_tokens=16, answer_s=10, repeat=1, prompts_s=10)


@dataclass(frozen=True, slots=True)
class Prefill:
    """Median tokens a second of prompts of ``tokens``, to the first token of the answer."""

    tokens: int
    prompts: int
    tokens_ps: float


@dataclass(frozen=True, slots=True)
class Decode:
    """Tokens a second of all users together while all of them were answered."""

    users: int
    drafts: bool
    tokens: int
    tokens_ps: float | None
    """None where an answer was too short to tell."""
    answers: tuple[tuple[int, ...], ...] = field(repr=False)
    """The ids of each."""


def measure_prefill(cluster: str, effort: Effort) -> Prefill:
    """Prompts of random ids, no two of which begin alike, one after the other."""
    draw = np.random.default_rng(_SEED)
    rates: list[float] = []
    with _client(cluster) as client:
        model = client.record.model
        until = time.perf_counter() + effort.prompts_s
        while len(rates) < effort.repeat and (not rates or time.perf_counter() < until):
            ids = draw.integers(0, model.vocab_size, effort.prompt_tokens - 1).tolist()
            prompt = [model.bos_id or 0, *ids]
            answer = client.ask(prompt, max_tokens=1, temperature=0, ignore_eos=True, draft=False)
            rates.append(answer.timings.prefill_tps)
    return Prefill(effort.prompt_tokens, len(rates), statistics.median(rates))


def measure_decode(cluster: str, effort: Effort, users: int, drafts: bool) -> Decode:
    """The answers to ordinary questions, all asked at once."""
    with _client(cluster) as client:
        came: list[list[float]] = []
        streams = []
        try:
            for prompt in PROMPTS[:users]:
                times: list[float] = []
                question = client.question(
                    prompt, max_tokens=effort.answer_tokens, temperature=0, draft=drafts
                )
                note = _Noting(times)
                streams.append(client.pose(question, on_token=note))
                came.append(times)
            until = time.perf_counter() + effort.answer_s
            for _ in as_they_come(streams):
                if time.perf_counter() > until:
                    for stream in streams:
                        stream.cancel()
        finally:
            for stream in streams:
                stream.close()
        answers = tuple(tuple(stream.answer.ids) for stream in streams)
    return Decode(users, drafts, sum(map(len, answers)), rate_together(came), answers)


def warm_up(cluster: str) -> None:
    """A few tokens, for which the nodes read all of their weights once."""
    with _client(cluster) as client:
        client.ask(PROMPTS[0], max_tokens=2, temperature=0)


def rate_together(came: Sequence[Sequence[float]]) -> float | None:
    """Of several texts whose tokens came at these times: tokens a second while all went on.

    Each text's rate is that between its first and its last token within that time.
    """
    if not all(came):
        return None
    began, ended = max(times[0] for times in came), min(times[-1] for times in came)
    within = [[at for at in times if began <= at <= ended] for times in came]
    if any(len(times) < 2 or times[-1] <= times[0] for times in within):
        return None
    return sum((len(times) - 1) / (times[-1] - times[0]) for times in within)


def differing(one: Decode, other: Decode) -> bool:
    """Whether two measurements of the same questions gave other ids, as far as both went."""
    pairs = zip(one.answers, other.answers, strict=True)
    return any(a[: len(b)] != b[: len(a)] for a, b in pairs)


class _Noting:
    """Notes when tokens come."""

    def __init__(self, times: list[float]) -> None:
        self._times = times

    def __call__(self, _token: int) -> None:
        self._times.append(time.perf_counter())


@contextmanager
def _client(cluster: str) -> Iterator[PipelineClient]:
    """One that mends nothing: a pipeline with other nodes would be another measurement."""
    with PipelineClient.connect(cluster, wait_s=_WAIT_S, heal_timeout_s=0) as client:
        yield client
