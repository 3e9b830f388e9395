"""What Prometheus is told: requests as they end, and the nodes as they were last looked at.

Base units; no label has anything that a client chose.
"""

import time
from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from pi_cluster.cluster.version import VERSION
from pi_cluster.coordinator.pipeline.status import PipelineStatus
from pi_cluster.coordinator.scheduling.counters import Counters
from pi_cluster.server.asking.visit import Visit

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 60, 120, 300, 600)
_GAPS = (0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 2.5, 5, 10, 60, 600)


class _OfTheScheduler(Collector):
    """What the scheduler counts, as it stands when it is asked for."""

    def __init__(self, counters: Callable[[], Counters]) -> None:
        self._counters = counters

    def collect(self) -> Iterator[CounterMetricFamily]:
        """One counter each."""
        now = self._counters()
        for name, about, value in (
            ("steps", "Steps that came back.", now.steps),
            ("step_rows", "Positions in them.", now.step_rows),
            ("prompt_tokens", "Of requests that were let in.", now.prompt_tokens),
            ("prompt_tokens_cached", "Of those, what was held already.", now.cached_tokens),
            ("generated_tokens", "Tokens of answers.", now.generated_tokens),
            ("forced_tokens", "Of those, what a schema left no choice for.", now.forced_tokens),
            ("draft_tokens", "Guesses that were decided.", now.right_guesses + now.wrong_guesses),
            ("draft_tokens_accepted", "Of those, the right ones.", now.right_guesses),
        ):
            yield CounterMetricFamily(f"pi_cluster_{name}", about, value=value)


class Metrics:
    """The figures of one server, in a registry of their own."""

    def __init__(self, visits: Iterable[Visit], counters: Callable[[], Counters]) -> None:
        """``visits`` are those that are here, whenever it is looked at them."""
        self._visits = visits
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "pi_cluster_requests",
            "Requests to the model that have ended.",
            ("api", "finish_reason"),
            registry=registry,
        )
        self._running = self._gauge("requests_running", "Requests whose answers grow.")
        self._waiting = self._gauge("requests_waiting", "Requests whose answers have not begun.")
        self._queue = self._histogram("queue_seconds", "From a request to its first step.")
        self._first = self._histogram("time_to_first_token_seconds", "From a request to an id.")
        self._gaps = self._histogram("inter_token_seconds", "Between pieces of an answer.", _GAPS)
        self._duration = self._histogram("request_duration_seconds", "From arrival to end.")
        registry.register(_OfTheScheduler(counters))
        self._up = self._node_gauge("node_up", "Whether a node serves its stage.")
        self._celsius = self._node_gauge("node_temperature_celsius", "Of a node's processor.")
        self._memory = self._node_gauge("node_memory_free_bytes", "Of a node's whole machine.")
        build = Gauge(*("pi_cluster_build_info", "This program.", ("version",)), registry=registry)
        build.labels(VERSION).set(1)

    def ended(self, visit: Visit) -> None:
        """Count a request that has ended, if it asked the pipeline."""
        if not visit.has_asked:
            return
        self._requests.labels(_api(visit.path), _reason(visit)).inc()
        self._duration.observe(time.monotonic() - visit.began_s)
        for answer in visit.answers:
            if answer.ids:
                self._queue.observe(answer.timings.load_s)
                self._first.observe(answer.timings.ttft_s)
        for gap_s in visit.gaps_s:
            self._gaps.observe(gap_s)

    def page(self, status: PipelineStatus | None) -> bytes:
        """The text that is scraped; ``status`` is None when no pipeline is up."""
        asking = [visit for visit in self._visits if visit.has_asked]
        self._running.set(sum(visit.has_grown for visit in asking))
        self._waiting.set(sum(not visit.has_grown for visit in asking))
        for gauge in (self._up, self._celsius, self._memory):
            gauge.clear()  # a node that left has no figures
        for stage in status.stages if status else ():
            self._up.labels(stage.node).set(stage.is_well)
            self._memory.labels(stage.node).set(stage.free_memory_bytes)
            if stage.temperature_c is not None:
                self._celsius.labels(stage.node).set(stage.temperature_c)
        return generate_latest(self._registry)

    def _gauge(self, name: str, about: str) -> Gauge:
        return Gauge(f"pi_cluster_{name}", about, registry=self._registry)

    def _node_gauge(self, name: str, about: str) -> Gauge:
        return Gauge(f"pi_cluster_{name}", about, ("node",), registry=self._registry)

    def _histogram(self, name: str, about: str, buckets: tuple[float, ...] = _SECONDS) -> Histogram:
        return Histogram(f"pi_cluster_{name}", about, buckets=buckets, registry=self._registry)


def _api(path: str) -> str:
    return {"v1": "openai", "api": "ollama"}.get(path.split("/")[1], "native")


def _reason(visit: Visit) -> str:
    if visit.outcome or not visit.answers:
        return visit.outcome or "none"
    return visit.answers[0].finish_reason.value
