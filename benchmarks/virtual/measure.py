"""The coordinator of a virtual cluster: asks for texts and measures, within the first host.

    python -m benchmarks.virtual.measure REQUEST

REQUEST is a file with a ``Request`` as JSON. Prints a ``Speed`` as JSON.
"""

import json
import sys
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from benchmarks.virtual.asking import Ask, asking
from benchmarks.virtual.drafting import DraftPace, PlayedModel
from benchmarks.virtual.mistral import BOS_ID, EOS_ID, manifest_of
from benchmarks.workers import PLAIN
from pi_cluster.cluster import settings
from pi_cluster.cluster.layer_range import LayerRange
from pi_cluster.cluster.store.manifest import Manifest
from pi_cluster.cluster.wire.client import NodeClient
from pi_cluster.cluster.wire.load_request import load_request
from pi_cluster.coordinator.drafting.draft_model import DraftModel
from pi_cluster.coordinator.drafting.drafter import DraftSource
from pi_cluster.coordinator.drafting.usual import usual_drafters
from pi_cluster.coordinator.scheduling.cache_limits import CacheLimits
from pi_cluster.coordinator.scheduling.counters import Counters
from pi_cluster.coordinator.served_model import ServedModel
from pi_cluster.coordinator.stage_address import StageAddress
from pi_cluster.transformer.config import ModelConfig
from pi_cluster.transformer.config_form import read_config
from pi_cluster.transformer.limits import Limits

EPOCH = 1
LIMITS = Limits(settings.MAX_STEP_ROWS, max_sequences=32, context=4096, cache_positions=32 * 4096)

_TOGETHER_S = 0.02  # tokens that come within this time come from one step


@dataclass(frozen=True, slots=True)
class Job:
    """What is asked of a cluster: one text, or several at once or in turn."""

    prompts: tuple[tuple[int, ...], ...]
    answers: tuple[tuple[int, ...], ...]
    """As the scripts have them; as many tokens are asked for."""
    drafts: bool = False
    model: DraftPace | None = None
    """A draft model beside those who look guesses up."""
    in_turn: bool = False
    """Whether each text is asked for when the one before has ended."""

    @property
    def scripts(self) -> list[list[int]]:
        """What the workers play back."""
        pairs = zip(self.prompts, self.answers, strict=True)
        return [[*prompt, *answer] for prompt, answer in pairs]


@dataclass(frozen=True, slots=True)
class Request:
    """A job, and the workers that do it, in pipeline order."""

    job: Job
    config: dict[str, int | float | None]
    addresses: tuple[str, ...]
    layers: tuple[tuple[int, int], ...]

    def to_json(self) -> str:
        """The text that :meth:`from_json` reads."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Rebuild what ``to_json`` returned."""
        values = json.loads(text)
        job = values.pop("job")
        prompts, answers = (tuple(map(tuple, job[name])) for name in ("prompts", "answers"))
        model = DraftPace(**job["model"]) if job["model"] else None
        return cls(job=Job(prompts, answers, job["drafts"], model, job["in_turn"]), **values)


@dataclass(frozen=True, slots=True)
class Speed:
    """What was measured.

    Prefill runs from the request to the last text's first token; decode from then on for as long
    as all texts go on.
    """

    prefill_tokens: int
    prefill_s: float
    decode_tokens: int
    decode_s: float
    right_guesses: int
    decided_guesses: int


def main() -> None:
    """Load the stages, do the job, print."""
    request = Request.from_json(Path(sys.argv[1]).read_text())
    stages = [
        StageAddress(address, address, address, LayerRange(*layers))
        for address, layers in zip(request.addresses, request.layers, strict=True)
    ]
    config = read_config(request.config)
    load_stages(stages, manifest_of(config))
    speed, said = measure(stages, config, request.job)
    if said != request.job.answers:
        sys.exit(f"the virtual model said {said}, and its scripts are {request.job.answers}")
    print(json.dumps(asdict(speed)))


def load_stages(stages: Sequence[StageAddress], manifest: Manifest) -> None:
    """Give each worker its layers, which it need not hold files of."""
    for stage, following in zip(stages, [*stages[1:], None], strict=True):
        next_hop = following.peer if following else None
        request = load_request(EPOCH, manifest, stage.layers, LIMITS, next_hop)
        with NodeClient(stage.peer, PLAIN) as client:
            client.load_stage(request)


def measure(
    stages: Sequence[StageAddress], config: ModelConfig, job: Job
) -> tuple[Speed, tuple[tuple[int, ...], ...]]:
    """Ask for all texts, at once or in turn; how fast the answers came, and the answers."""
    model = ServedModel(config.vocab_size, BOS_ID, frozenset({EOS_ID}), LIMITS.context)
    counters = Counters()
    drafters, limits = _drafters(config, job), _cache_limits(config)
    pairs = list(zip(job.prompts, job.answers, strict=True))
    with asking(stages, EPOCH, model, limits, job.drafts, drafters, counters) as ask:
        groups = [[pair] for pair in pairs] if job.in_turn else [pairs]
        taken = [_together(ask, group) for group in groups]
    speed = Speed(
        prefill_tokens=sum(map(len, job.prompts)),
        prefill_s=sum(group.prefill_s for group in taken),
        decode_tokens=sum(group.decode_tokens for group in taken),
        decode_s=sum(group.decode_s for group in taken),
        right_guesses=counters.right_guesses,
        decided_guesses=counters.right_guesses + counters.wrong_guesses,
    )
    return speed, tuple(said for group in taken for said in group.said)


@dataclass(frozen=True, slots=True)
class _Taken:
    """Texts that were asked for at once."""

    prefill_s: float
    decode_tokens: int
    decode_s: float
    said: tuple[tuple[int, ...], ...]


def _together(ask: Ask, pairs: Sequence[tuple[tuple[int, ...], tuple[int, ...]]]) -> _Taken:
    began = time.perf_counter()
    with ThreadPoolExecutor(len(pairs)) as pool:
        users = [pool.submit(_take, ask(prompt, len(answer))) for prompt, answer in pairs]
        times, said = zip(*(user.result() for user in users), strict=True)
    all_began, first_ended = max(t[0] for t in times), min(t[-1] for t in times)
    return _Taken(
        prefill_s=all_began - began,
        decode_tokens=sum(
            all_began + _TOGETHER_S < at <= first_ended + _TOGETHER_S
            for text in times
            for at in text
        ),
        decode_s=first_ended - all_began,
        said=said,
    )


def _drafters(config: ModelConfig, job: Job) -> list[DraftSource]:
    drafters = [*usual_drafters()]
    if job.model:
        drafters.append(DraftModel(PlayedModel(job.scripts, job.model, config.vocab_size)))
    return drafters


def _cache_limits(config: ModelConfig) -> CacheLimits:
    return CacheLimits.of(config, LIMITS)


def _take(tokens: Iterable[int]) -> tuple[list[float], tuple[int, ...]]:
    """When each token came, and the tokens."""
    came = [(time.perf_counter(), token) for token in tokens]
    return [at for at, _ in came], tuple(token for _, token in came)


if __name__ == "__main__":
    main()
