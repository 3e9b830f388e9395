"""Many texts through one pipeline, so that no stage is ever idle: continuous batching.

One thread decides, whenever a step has come back or a request has come in, what the next steps
carry. Rows that extend texts go first, in as many micro-batches as keep all stages busy; prompts
fill up what is left of a step; where nothing certain is left to send, guesses are.

What goes wrong with one request ends that request alone. The stages refuse a step as a whole, and
with it the session, so each chunk is checked by their rules before it is sent; only the session's
own end, which ``Session.wait`` tells, ends all requests.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

from pi_cluster.cluster.errors import ClusterError, NodeError
from pi_cluster.coordinator.constraint import Constraint
from pi_cluster.coordinator.drafting.drafter import DraftSource
from pi_cluster.coordinator.drafting.judge import Drafting
from pi_cluster.coordinator.drafting.usual import usual_drafters
from pi_cluster.coordinator.finish_reason import FinishReason
from pi_cluster.coordinator.generation import Generation, GenerationOptions
from pi_cluster.coordinator.listeners import Listeners
from pi_cluster.coordinator.measurement import Measurement
from pi_cluster.coordinator.scheduling.cache_limits import CacheLimits
from pi_cluster.coordinator.scheduling.counters import Counters
from pi_cluster.coordinator.scheduling.growing import Growing
from pi_cluster.coordinator.scheduling.letting_in import LettingIn, most_positions
from pi_cluster.coordinator.scheduling.occupancy import Occupancy
from pi_cluster.coordinator.scheduling.requests import Requests
from pi_cluster.coordinator.scheduling.residents import Residents
from pi_cluster.coordinator.scheduling.sent_steps import StepRecord
from pi_cluster.coordinator.scheduling.stepping import Stepping
from pi_cluster.coordinator.scheduling.texts import Texts
from pi_cluster.coordinator.served_model import ServedModel
from pi_cluster.coordinator.session import Session
from pi_cluster.coordinator.steps import StepResult


@dataclass(frozen=True, slots=True)
class SchedulerSettings:
    """How a pipeline is shared; none of it changes any text."""

    reuse_prefixes: bool = True
    max_waiting: int = 1000
    """Requests that may wait for room in the caches."""
    rest_after_s: float = 0.0
    """How long nothing must be asked before the session makes way for other coordinators."""


class Scheduler:
    """Serves requests from any thread, from ``with`` to its end.

    The session belongs to it meanwhile. When the session is lost, every request that is not done
    raises that failure, and so does each later :meth:`submit`: whoever holds the scheduler then
    begins anew with another session.
    """

    def __init__(
        self,
        session: Session,
        model: ServedModel,
        limits: CacheLimits,
        settings: SchedulerSettings | None = None,
        counters: Counters | None = None,
        on_first_step: Callable[[], None] = lambda: None,
        drafters: Sequence[DraftSource] | None = None,
    ) -> None:
        """``counters`` are added to, from where they stand.

        ``drafters`` guess how texts go on, by default those that cost nothing; they are closed with
        it.

        ``on_first_step`` is called, on the scheduler's thread, when the session has begun to work.
        """
        self._session = session
        self._model = model
        self._limits = limits
        self.on_step = Listeners[StepRecord]()
        """Are told of each step that came back. What one raises, ``with`` ends with."""
        self.counters = counters or Counters()
        settings = settings or SchedulerSettings()
        self._residents = Residents(limits, reuse=settings.reuse_prefixes)
        self._rest_after_s = settings.rest_after_s
        self._idle_since_s: float | None = None
        self._has_served = False
        self._on_first_step = on_first_step
        self._requests = Requests(settings.max_waiting)
        self._texts = Texts(session, self._requests, self._residents, self.counters)
        sources = usual_drafters() if drafters is None else drafters
        self._drafting = Drafting(sources, session.wake)
        self._letting_in = LettingIn(
            *(session, model, self._requests, self._residents, self._texts, self.counters),
            self._drafting,
        )
        self._stepping = Stepping(
            *(session, limits.max_step_rows, self._residents, self._texts),
            *(Growing(session, model, self._texts), self.counters, self.on_step.tell),
        )
        self._is_closing = False
        self._why_closed: ClusterError = NodeError("the coordinator was closed")
        self._thread = threading.Thread(target=self._serve, name="scheduler", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *failure: object) -> None:
        self.close()
        if kind is None and self.on_step.failure:
            raise self.on_step.failure

    def close(self, why: ClusterError | None = None) -> None:
        """End what runs, which raises ``why``, and wait until it has ended."""
        self._why_closed = why or self._why_closed
        self._is_closing = True
        self._session.wake()
        self._thread.join()

    @property
    def has_served(self) -> bool:
        """Whether a step has come back, so that the session had begun."""
        return self._has_served

    @property
    def failure(self) -> Exception | None:
        """What ended the session; None while requests are served."""
        return self._requests.failure

    @property
    def occupancy(self) -> Occupancy:
        """How full the pipeline is, as any thread may ask."""
        return Occupancy(
            *(self._requests.waiting, self._requests.running),
            *(self._limits.cache_positions, self._residents.positions_used),
            self._requests.expected_wait_s,
        )

    def check_queue(self) -> None:
        """Raises ``QueueFull`` when too many requests wait for one more; any thread may ask."""
        self._requests.check_room()

    def submit(
        self,
        prompt_ids: Sequence[int],
        options: GenerationOptions,
        measurement: Measurement | None = None,
        constraint: Constraint | None = None,
        answered: int = 0,
        *,
        had_place: bool = False,
    ) -> Generation:
        """Ask for a text, which keeps to a ``constraint`` of its own; returns at once.

        The last ``answered`` ids were generated by a session before; the constraint knows them.
        What waited or ran before, and ``had_place`` there, is not refused as one too many.

        Raises ``PromptError`` for ids that the model cannot take or that the caches have no room
        for, ``SettingsError`` for a bias of ids that it does not have, ``QueueFull`` when too many
        requests wait already, and what ended the session.
        """
        self._model.check_prompt(prompt_ids)
        self._model.check_bias(options.sampling.logit_bias)
        self._limits.check_room(most_positions(self._model, prompt_ids, options))
        measurement = measurement or Measurement(self._session.stages)
        waiting = self._requests.standing
        generation = Generation(
            prompt_ids, options, measurement, self._cancel, constraint, waiting, answered
        )
        self._requests.add(generation, had_place=had_place)
        self._session.wake()
        return generation

    def _cancel(self, generation: Generation) -> None:
        self._requests.cancel(generation)
        self._session.wake()

    def _serve(self) -> None:
        try:
            while not self._is_closing:
                self._drop_cancelled()
                for running in self._letting_in.all_with_room():
                    self._stepping.begin(running)
                self._stepping.send_all()
                self._texts.tell()
                if (result := self._session.wait(self._most_wait_s())) is not None:
                    self._take(result)
            self._stop(self._why_closed)
        except ClusterError as error:
            self._stop(error)
        except BaseException as error:
            self._stop(NodeError(f"the scheduler failed: {error!r}"))
            raise
        finally:
            self._drafting.close()

    def _stop(self, failure: Exception) -> None:
        """Tell everyone why nothing more comes, and leave nothing in flight."""
        self._texts.tell()
        waiting = self._requests.end(failure)
        self._texts.end(failure)
        for generation in waiting:
            generation.tell(failure)

    def _drop_cancelled(self) -> None:
        cancelled, waited = self._requests.take_cancelled()
        for generation in waited:
            generation.tell(FinishReason.INTERRUPTED)
        self._texts.interrupt(cancelled)

    def _most_wait_s(self) -> float | None:
        """How long nothing has to be done unless something comes."""
        rest_in_s = self._rest_if_idle()
        return self._stepping.guesses_wait_s() if rest_in_s is None else rest_in_s

    def _rest_if_idle(self) -> float | None:
        """Make way for others; returns seconds until it is time for that, if it comes to that."""
        if self._texts.running or self._session.in_flight or self._stepping.is_resting:
            self._idle_since_s = None
            return None
        now = time.monotonic()
        if self._idle_since_s is None:
            self._idle_since_s = now
        if (left_s := self._idle_since_s + self._rest_after_s - now) > 0:
            return left_s
        self._stepping.rest()
        return None

    def _take(self, result: StepResult) -> None:
        if not self._has_served:
            self._has_served = True
            self._on_first_step()
        self._stepping.take(result)
