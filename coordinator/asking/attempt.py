"""One try to ask, and what comes after one that failed."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

from pi_cluster.cluster.errors import (
    ClusterError,
    NodeLost,
    PutBack,
    SessionExpired,
    StaleEpoch,
)
from pi_cluster.coordinator.asking.hold import Hold
from pi_cluster.coordinator.asking.question import Question
from pi_cluster.coordinator.generation import Generation
from pi_cluster.coordinator.measurement import Measurement
from pi_cluster.coordinator.patience import Patience
from pi_cluster.coordinator.records.pipeline_record import PipelineRecord
from pi_cluster.coordinator.scheduling.scheduler import Scheduler


class Attempt:
    """One try to ask, and what is to be known of it if it fails."""

    def __init__(self, hold: Hold) -> None:
        self._hold = hold
        self._scheduler: Scheduler | None = None
        self._record: PipelineRecord | None = None

    def submit(
        self, question: Question, answered: Sequence[int], measured: Measurement | None
    ) -> Generation:
        """Ask the pipeline that is up now; raises as ``Hold.take`` and as ``Scheduler.submit``.

        What an earlier session has ``answered`` is a part of the prompt, and what it ``measured``
        goes on.
        """
        began = time.perf_counter()
        scheduler = self._scheduler = self._hold.take(self._know)
        assert self._record, "the hold tells of it before it gives a scheduler"
        stages = self._record.addresses
        options = question.options
        options = replace(options, max_tokens=options.max_tokens - len(answered))
        measurement = measured.going_on(stages) if measured else Measurement(stages, began)
        constraint = question.new_constraint() if question.new_constraint else None
        if constraint:
            for token in answered:
                constraint.accept(token)
        ids = [*question.prompt_ids, *answered]
        return scheduler.submit(
            *(ids, options, measurement, constraint, len(answered)), had_place=measured is not None
        )

    def after(self, error: ClusterError, patience: Patience) -> Iterator[float]:
        """Yield seconds to wait, one after the other, until the question may be asked again.

        Raises what a person should know instead. What the pipeline holds for us is freed if its
        session was lost.
        """
        scheduler = self._scheduler
        if scheduler is not None and scheduler.failure is None:
            if isinstance(error, PutBack):
                return  # it waits for its turn again
            raise error  # of this question alone
        had_begun = scheduler is not None and scheduler.has_served
        if had_begun:
            patience.is_committed = True
        self._hold.let_go_of(scheduler)
        if self._record and self._hold.healer.mends(error):
            if self._hold.has_taken_anew(scheduler):
                return  # others have learned of the loss before, and the pipeline works again
            yield from patience.while_mended(self._hold.healer.mend(error, self._record))
            return
        is_there = had_begun or isinstance(error, SessionExpired)
        if isinstance(error, NodeLost) and not is_there and not patience.is_lasting:
            raise error  # asked a moment later, it would not be there either
        if isinstance(error, StaleEpoch) and self._record:
            yield from patience.until_settled(self._hold.is_changing)
            yield from patience.until_settled(partial(self._hold.is_coming, self._record))
            if self._hold.load().epoch == self._record.epoch:
                error = StaleEpoch(
                    "the nodes have left the pipeline that this machine remembers (epoch "
                    f"{self._record.epoch}), and tell of none with this model that is whole"
                )
                if self._hold.healer.is_on:  # one may have come back without its stage
                    yield from patience.while_mended(self._hold.healer.mend(error, self._record))
                    return
                if not patience.is_lasting:
                    raise error
        yield patience.after(error)

    def _know(self, record: PipelineRecord) -> None:
        self._record = record
