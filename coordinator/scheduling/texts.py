"""The texts that run: what is told of them, and how one ends without harm to the others."""

import contextlib
import logging
from collections.abc import Collection, Iterator, Sequence

from pi_cluster.cluster.errors import ClusterError, NodeError
from pi_cluster.coordinator.finish_reason import FinishReason
from pi_cluster.coordinator.generation import Generation, News
from pi_cluster.coordinator.scheduling.counters import Counters
from pi_cluster.coordinator.scheduling.requests import Requests
from pi_cluster.coordinator.scheduling.residents import Residents
from pi_cluster.coordinator.scheduling.running import Running
from pi_cluster.coordinator.session import Session
from pi_cluster.transformer.errors import ModelError

log = logging.getLogger(__name__)


class Texts:
    """Those that have their place in the caches. Used by the scheduler's thread alone.

    What is new of them waits until :meth:`tell`: each listener that wakes up takes its time, and
    the next steps are sent before.
    """

    def __init__(
        self, session: Session, requests: Requests, residents: Residents, counters: Counters
    ) -> None:
        self._session = session
        self._requests = requests
        self._residents = residents
        self._counters = counters
        self._running: list[Running] = []
        self._untold: list[tuple[Generation, News]] = []

    @property
    def running(self) -> Sequence[Running]:
        """All of them, in the order in which they were let in."""
        return self._running

    def add(self, running: Running) -> None:
        """One has its place from now on."""
        self._running.append(running)

    def give(self, running: Running, ids: Sequence[int]) -> None:
        """Have ids told that one goes on with."""
        for token in ids:
            self._counters.generated_tokens += 1
            self._untold.append((running.generation, token))

    def tell(self) -> None:
        """Hand out what is new."""
        untold, self._untold = self._untold, []
        for generation, news in untold:
            generation.tell(news)

    def finish(self, running: Running, reason: FinishReason) -> None:
        """One has come to its end. Its caches are kept, if they may be of use."""
        self._leave(running, reason)
        if not self._residents.finish(running.state):
            self._session.end_sequence(running.state.number)

    def fail(self, running: Running, error: Exception) -> None:
        """End one with its error. Its caches are not kept: who knows what they hold."""
        self._leave(running, error)
        self._residents.drop(running.state)
        self._session.end_sequence(running.state.number)

    @contextlib.contextmanager
    def ending_alone(self, running: Running) -> Iterator[None]:
        """What goes wrong within ends one of them; the others may be well."""
        try:
            yield
        except (ModelError, ClusterError) as error:
            self.fail(running, error)
        except Exception as error:
            about = self._session.about
            about["sequence"] = running.state.number
            log.exception("a request failed", extra=about)
            self.fail(running, NodeError(f"the coordinator failed at this request: {error!r}"))

    def interrupt(self, cancelled: Collection[Generation]) -> None:
        """End those that nobody wants any more."""
        for running in [r for r in self._running if r.generation in cancelled]:
            self.finish(running, FinishReason.INTERRUPTED)

    def end(self, failure: Exception) -> None:
        """End all of them, as the session does, and leave nothing in flight."""
        for running in self._running:
            self._session.supersede(running.state.number)
        left, self._running = self._running, []
        for running in left:
            running.close()
            running.generation.tell(failure)

    def _leave(self, running: Running, news: FinishReason | Exception) -> None:
        self._running.remove(running)
        running.close()
        self._requests.leave(running.generation)
        self._session.supersede(running.state.number)
        running.state.in_flight.clear()
        measured = running.generation.measurement
        self._counters.forced_tokens += measured.forced
        self._counters.right_by += measured.right_by
        self._counters.wrong_by += measured.wrong_by
        self._untold.append((running.generation, news))
