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

from benchmarks.virtual.asking import asking
from benchmarks.virtual.mistral import BOS_ID, EOS_ID, manifest_of
from benchmarks.workers import PLAIN
from pi_cluster.cluster import settings
from pi_cluster.cluster.layer_range import LayerRange
from pi_cluster.cluster.store.manifest import Manifest
from pi_cluster.cluster.wire.client import NodeClient
from pi_cluster.cluster.wire.load_request import load_request
from pi_cluster.coordinator.scheduling.cache_limits import CacheLimits
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
    """What is asked of a cluster: one text, or several at once."""

    prompts: tuple[tuple[int, ...], ...]
    answers: tuple[tuple[int, ...], ...]
    """As the scripts have them; as many tokens are asked for."""
    drafts: bool = False

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
        return cls(job=Job(prompts, answers, job["drafts"]), **values)


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
    """Ask for all texts at once; returns how fast the answers came, and the answers."""
    model = ServedModel(config.vocab_size, BOS_ID, frozenset({EOS_ID}), LIMITS.context)
    with asking(stages, EPOCH, model, _cache_limits(config), job.drafts) as ask:
        began = time.perf_counter()
        with ThreadPoolExecutor(len(job.prompts)) as pool:
            users = [
                pool.submit(_take, ask(prompt, len(answer)))
                for prompt, answer in zip(job.prompts, job.answers, strict=True)
            ]
            times, said = zip(*(user.result() for user in users), strict=True)
    all_began, first_ended = max(t[0] for t in times), min(t[-1] for t in times)
    speed = Speed(
        prefill_tokens=sum(map(len, job.prompts)),
        prefill_s=all_began - began,
        decode_tokens=sum(
            all_began + _TOGETHER_S < at <= first_ended + _TOGETHER_S
            for text in times
            for at in text
        ),
        decode_s=first_ended - all_began,
    )
    return speed, said


def _cache_limits(config: ModelConfig) -> CacheLimits:
    return CacheLimits.of(config, LIMITS)


def _take(tokens: Iterable[int]) -> tuple[list[float], tuple[int, ...]]:
    """When each token came, and the tokens."""
    came = [(time.perf_counter(), token) for token in tokens]
    return [at for at, _ in came], tuple(token for _, token in came)


if __name__ == "__main__":
    main()
