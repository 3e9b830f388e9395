"""What Prometheus is told: requests as they end, and the nodes as they were last looked at.

Base units; no label has anything that a client chose.
"""

import time
from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from pi_cluster.cluster.version import VERSION
from pi_cluster.coordinator.client import PipelineClient
from pi_cluster.coordinator.pipeline.status import PipelineStatus
from pi_cluster.server.asking.headcount import headcount
from pi_cluster.server.asking.model_card import ModelCard
from pi_cluster.server.asking.visit import Visit
from pi_cluster.server.pipeline_figures import counted, held, seen

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 60, 120, 300, 600)
_GAPS = (0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 2.5, 5, 10, 60, 600)


class _OfThePipeline(Collector):
    """What is known of the pipeline when it is scraped."""

    def __init__(self, client: Callable[[], PipelineClient]) -> None:
        self._client = client
        self.seen: tuple[PipelineStatus, ModelCard] | None = None

    def collect(self) -> Iterator[Metric]:
        """All of its figures."""
        client = self._client()
        yield from counted(client.counters)
        yield from held(client.occupancy)
        if self.seen:
            yield from seen(*self.seen)


class Metrics:
    """The figures of one server, in a registry of their own."""

    def __init__(self, visits: Iterable[Visit], client: Callable[[], PipelineClient]) -> None:
        """``visits`` are those that are here, whenever it is looked at them.

        ``client`` is that of the model which is up when it is asked for.
        """
        self._visits = visits
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "pi_cluster_requests",
            "Requests to the model that have ended.",
            ("api", "finish_reason"),
            registry=registry,
        )
        self._running = self._gauge("requests_running", "Requests that the model reads or answers.")
        self._waiting = self._gauge("requests_waiting", "Requests whose turn has not come.")
        self._queue = self._histogram("queue_seconds", "From a request to its first step.")
        self._first = self._histogram("time_to_first_token_seconds", "From a request to an id.")
        self._gaps = self._histogram("inter_token_seconds", "Between pieces of an answer.", _GAPS)
        self._duration = self._histogram("request_duration_seconds", "From arrival to end.")
        self._pipeline = _OfThePipeline(client)
        registry.register(self._pipeline)
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

    def page(self, status: PipelineStatus | None, card: ModelCard) -> bytes:
        """The text that is scraped; ``status`` is None when no pipeline is up."""
        count = headcount(self._visits)
        self._running.set(count.running)
        self._waiting.set(count.waiting)
        self._pipeline.seen = (status, card) if status else None
        return generate_latest(self._registry)

    def _gauge(self, name: str, about: str) -> Gauge:
        return Gauge(f"pi_cluster_{name}", about, registry=self._registry)

    def _histogram(self, name: str, about: str, buckets: tuple[float, ...] = _SECONDS) -> Histogram:
        return Histogram(f"pi_cluster_{name}", about, buckets=buckets, registry=self._registry)


def _api(path: str) -> str:
    # OpenAI's routes stand with and without /v1, and llama.cpp's beside them.
    return {"api": "ollama", "cluster": "native"}.get(path.split("/")[1], "openai")


def _reason(visit: Visit) -> str:
    if visit.outcome or not visit.answers:
        return visit.outcome or "none"
    return visit.answers[0].finish_reason.value
