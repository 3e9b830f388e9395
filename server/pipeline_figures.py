"""What a pipeline does, for Prometheus: what was counted so far, and its stages as last seen."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from pi_cluster.coordinator.pipeline.status import PipelineStatus, StageStatus
from pi_cluster.coordinator.scheduling.counters import Counters
from pi_cluster.coordinator.scheduling.occupancy import Occupancy
from pi_cluster.server.asking.model_card import ModelCard

_NODE = ("node",)
_DRAFTER = ("drafter",)


def counted(now: Counters) -> Iterator[Metric]:
    """Sums that only grow."""
    for name, about, value in (
        ("steps", "Steps that came back.", now.steps),
        ("step_rows", "Positions in them.", now.step_rows),
        ("prompt_tokens", "Of requests that were let in.", now.prompt_tokens),
        ("prompt_tokens_cached", "Of those, what was held already.", now.cached_tokens),
        ("generated_tokens", "Tokens of answers.", now.generated_tokens),
        ("forced_tokens", "Of those, what a schema left no choice for.", now.forced_tokens),
        ("draft_tokens", "Guesses that were decided.", now.right_guesses + now.wrong_guesses),
        ("draft_tokens_accepted", "Of those, the right ones.", now.right_guesses),
        ("heals_failed", "Losses of the pipeline that were given up.", now.not_healed),
    ):
        yield CounterMetricFamily(f"pi_cluster_{name}", about, value=value)
    guessed = _counter("drafter_tokens", "Guesses that were decided, by who made them.", _DRAFTER)
    accepted = _counter("drafter_tokens_accepted", "Of those, the right ones.", _DRAFTER)
    right, wrong = dict(now.right_by), dict(now.wrong_by)
    for name in sorted({*right, *wrong}):
        guessed.add_metric((name,), right.get(name, 0) + wrong.get(name, 0))
        accepted.add_metric((name,), right.get(name, 0))
    yield from (guessed, accepted)
    computed = _counter("stage_compute_seconds", "Time in which a node computed.", _NODE)
    idle = _counter("stage_idle_seconds", "Time in which it had nothing to do.", _NODE)
    # Nodes may share a name, and a name may stand only once.
    work = tuple(now.stages.values())
    for node in sorted({one.node for one in work}):
        computed.add_metric((node,), sum(one.compute_s for one in work if one.node == node))
        idle.add_metric((node,), sum(one.idle_s for one in work if one.node == node))
    yield from (computed, idle)
    heals = _counter("heals", "Lost sessions that another one followed.", ("kind",))
    for kind, times in sorted(now.heals.items()):
        heals.add_metric((kind,), times)
    yield heals
    lasted = _counter("heal_seconds", "How long those lasted that were mended.", ("kind",))
    for kind, seconds in sorted(now.heal_seconds.items()):
        lasted.add_metric((kind,), seconds)
    yield lasted


def held(now: Occupancy) -> Iterator[Metric]:
    """How full its caches are; both are 0 while it is not in use."""
    about = "Positions of texts for which the caches have room."
    yield GaugeMetricFamily("pi_cluster_cache_positions", about, now.cache_positions)
    about = "Of those, what is taken or kept."
    yield GaugeMetricFamily("pi_cluster_cache_positions_used", about, now.cache_positions_used)


def seen(status: PipelineStatus, card: ModelCard) -> Iterator[Metric]:
    """The pipeline that is up, and its nodes."""
    info = _gauge(
        *("pipeline_info", "The pipeline that is up."), ("model", "digest", "epoch", "stages")
    )
    facts = (card.id, card.digest, str(status.epoch), str(len(status.stages)))
    info.add_metric(facts, 1)
    yield info
    up = _gauge("node_up", "Whether a node serves its stage.", _NODE)
    celsius = _gauge("node_temperature_celsius", "Of a node's processor.", _NODE)
    memory = _gauge("node_memory_free_bytes", "Of a node's whole machine.", _NODE)
    for stage in _by_name(status):
        label = (stage.node,)
        up.add_metric(label, stage.is_well)
        if stage.memory_bytes:
            memory.add_metric(label, stage.free_memory_bytes)
        if stage.temperature_c is not None:
            celsius.add_metric(label, stage.temperature_c)
    yield from (up, celsius, memory)


def _by_name(status: PipelineStatus) -> Iterator[StageStatus]:
    """One stage of each name: of nodes that share one, the first that is not well."""
    found: dict[str, StageStatus] = {}
    for stage in status.stages:
        if stage.node not in found or found[stage.node].is_well > stage.is_well:
            found[stage.node] = stage
    yield from found.values()


def _counter(name: str, about: str, labels: tuple[str, ...]) -> CounterMetricFamily:
    return CounterMetricFamily(f"pi_cluster_{name}", about, labels=labels)


def _gauge(name: str, about: str, labels: tuple[str, ...]) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"pi_cluster_{name}", about, labels=labels)
