"""The pipeline held for questions: taken when one comes, kept after it, taken anew when lost."""

import contextlib
import gc
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Self

from pi_cluster.cluster import settings as limits
from pi_cluster.cluster.errors import (
    ClusterError,
    ModelReplaced,
    PipelineClosed,
    SessionYielded,
    StaleEpoch,
)
from pi_cluster.cluster.wire.dialing import Dialer
from pi_cluster.coordinator.asking.strain_notes import note_strain
from pi_cluster.coordinator.drafting.drafter import DraftSource
from pi_cluster.coordinator.drafting.usual import usual_drafters
from pi_cluster.coordinator.healing.healer import Healer
from pi_cluster.coordinator.records.events import EventKind, EventLog
from pi_cluster.coordinator.records.kept_record import is_changing, load_record
from pi_cluster.coordinator.records.pipeline_record import PipelineRecord
from pi_cluster.coordinator.records.recorded_draft import RecordedDraft
from pi_cluster.coordinator.scheduling.counters import Counters
from pi_cluster.coordinator.scheduling.occupancy import Occupancy
from pi_cluster.coordinator.scheduling.scheduler import Scheduler, SchedulerSettings
from pi_cluster.coordinator.session import Session
from pi_cluster.coordinator.stage_address import StageAddress
from pi_cluster.coordinator.trouble import Trouble, kind_of
from pi_cluster.coordinator.wait_limits import USUAL_LIMITS, WaitLimits

_Failure = tuple[type[BaseException] | None, BaseException | None, TracebackType | None]
_NO_FAILURE: _Failure = (None, None, None)

DraftModels = Callable[[PipelineRecord], AbstractContextManager[Sequence[DraftSource]]]
"""Opens those that guess beside the usual ones while a pipeline is held."""


def no_draft_models(_record: PipelineRecord) -> AbstractContextManager[Sequence[DraftSource]]:
    """None but the usual ones."""
    return nullcontext(())


@dataclass(frozen=True, slots=True)
class _Held:
    """A pipeline that is held: the session, and the scheduler that serves all questions."""

    scheduler: Scheduler
    epoch: int
    draft: RecordedDraft | None
    stack: contextlib.ExitStack


class Hold:
    """A hold on a cluster's pipeline that questions of any thread share, and with it the caches.

    Nothing is taken before the first question. Between questions it makes way for others; when the
    session was lost, or another pipeline of the same model was brought up, the next one takes hold
    anew.
    """

    def __init__(
        self,
        record: PipelineRecord,
        dialer: Dialer,
        on_notice: Callable[[str], None],
        settings: SchedulerSettings | None = None,
        heal_timeout_s: float = limits.HEAL_TIMEOUT_S,
        wait_limits: WaitLimits = USUAL_LIMITS,
        draft_models: DraftModels = no_draft_models,
    ) -> None:
        """``record`` says of which cluster, and for which model questions are encoded.

        ``on_notice`` is told, in sentences and on any thread, whom the session waits for, which it
        does within ``wait_limits``. A lost pipeline is mended for up to ``heal_timeout_s``; with 0
        it is not. ``draft_models`` are opened anew for each session.
        """
        self.cluster = record.folder.name
        self._digest = record.manifest.digest
        self._dialer = dialer
        self._on_notice = on_notice
        self._settings = settings
        self._wait_limits = wait_limits
        self._draft_models = draft_models
        self.counters = Counters()
        """Of all sessions."""
        self._lock = threading.Lock()  # of what is held
        self._held: _Held | None = None
        self._lost_to = ""  # the session before, unless one has worked since
        self._has_let_go = False  # of a session, since one has worked
        self.healer = Healer(
            *(self.cluster, self._digest, dialer, on_notice, heal_timeout_s),
            on_healed=self._healed,
            on_given_up=self._given_up,
        )
        """Mends what was lost, for all questions."""
        self._following = threading.Lock()  # one look at the nodes at a time
        self._is_closed = False

    def take(self, on_record: Callable[[PipelineRecord], None] = lambda _: None) -> Scheduler:
        """What serves questions to the pipeline that is up now, of which ``on_record`` is told.

        Raises as ``Session`` does when it cannot be taken, ``StateError`` when none is up,
        ``ModelReplaced`` when it is one with another model, ``PipelineClosed`` after `close`, and
        the loss that is being mended.
        """
        # The record is read within, or who waited here with an older one would take that back.
        with self._lock:
            record = self.load()
            on_record(record)
            if healing := self.healer.under_way:
                # It lasts for as long as it is mended, and would hold all who have come meanwhile.
                raise healing.loss.with_traceback(None)
            return self._scheduler(record)

    def is_changing(self) -> bool:
        """Whether the pipeline is being brought up or down here, and still awaited."""
        return not self._is_closed and is_changing(self.cluster)

    def is_coming(self, replaced: PipelineRecord) -> bool:
        """Whether the pipeline is being brought up from elsewhere.

        Where another one has taken the place of what was ``replaced``, that is remembered.
        """
        from pi_cluster.coordinator.healing.following import Later, follow

        with self._following:  # who waited here finds what another question has found
            if self._is_closed or self.load().epoch != replaced.epoch:
                return False
            return follow(replaced, self._dialer) is Later.COMING

    def load(self) -> PipelineRecord:
        """The record of the pipeline that is up now."""
        record = load_record(self.cluster)
        if record.manifest.digest != self._digest:
            raise ModelReplaced("another model is up now: ask anew, in a chat after /bye")
        return record

    def release(self) -> None:
        """Free all that the pipeline holds for us, for other programs; the next question takes it.

        Questions that are not answered go on when they have it again.
        """
        with self._lock:
            self._let_go(SessionYielded("the pipeline was left to another program: ask again"))

    @property
    def occupancy(self) -> Occupancy:
        """How full it is with what we ask; all zero while nothing is held."""
        held = self._held
        return held.scheduler.occupancy if held else Occupancy()

    def check_queue(self) -> None:
        """Raises ``QueueFull`` when too many questions wait for one more."""
        if held := self._held:
            held.scheduler.check_queue()

    def let_go_of(self, scheduler: Scheduler | None) -> None:
        """Free all that the pipeline holds for one scheduler, unless that is done."""
        with self._lock:
            if self._held and self._held.scheduler is scheduler:
                self._let_go()

    def has_taken_anew(self, lost: Scheduler | None) -> bool:
        """Whether another scheduler than a lost one serves questions by now."""
        if self.healer.under_way:
            return False
        held = self._held
        return held is not None and held.scheduler is not lost and not held.scheduler.failure

    def close(self) -> None:
        """Let go for good. Questions that are not answered raise ``PipelineClosed``."""
        self._is_closed = True
        self.healer.close()
        with self._lock:
            self._let_go(_closed())

    def _served(self) -> None:
        """The first step of a session has come back."""
        lost_to, self._lost_to = self._lost_to, ""
        if self.healer.served() is None and lost_to:
            self.counters.add_heal(lost_to, 0.0)
        self._free_those_before()

    def _free_those_before(self) -> None:
        """Free the sessions that were let go of, with their connections.

        Their parts hold each other. Python looks through what is as old after tens of them: it does
        not know how much memory gRPC has in there.
        """
        if self._has_let_go:
            self._has_let_go = False
            gc.collect()  # some milliseconds, once for each session

    def _healed(self, trouble: Trouble) -> None:
        """A loss was mended, while somebody asked or not."""
        self.counters.add_heal(kind_of(trouble.loss), trouble.lost_s)

    def _given_up(self) -> None:
        """A loss was not mended."""
        self.counters.not_healed += 1

    def _let_go(self, why: ClusterError | None = None, failure: _Failure = _NO_FAILURE) -> None:
        held, self._held = self._held, None
        if held:
            self._has_let_go = True
            self._lost_to = kind_of(held.scheduler.failure or why) or self._lost_to
            held.scheduler.close(why)
            # Another coordinator may be taking it at this very moment, which is as well.
            with contextlib.suppress(SessionYielded):
                held.stack.__exit__(*failure)

    def _scheduler(self, record: PipelineRecord) -> Scheduler:
        if self._is_closed:
            raise _closed()
        held = self._held
        is_same = held and (held.epoch, held.draft) == (record.epoch, record.draft)
        if held and is_same and not held.scheduler.failure:
            return held.scheduler
        self._let_go(StaleEpoch("another `up` has replaced the pipeline meanwhile"))
        self.healer.asked()
        with contextlib.ExitStack() as entered:
            session = Session(
                *(record.addresses, record.epoch, record.model.vocab_size, self._dialer),
                *(self._on_notice, self._on_slow, partial(note_strain, self.cluster)),
                limits=self._wait_limits,
                times=record.step_times(),
            )
            entered.enter_context(session)
            models = entered.enter_context(self._draft_models(record))
            scheduler = Scheduler(
                *(session, record.model, record.cache_limits, self._settings, self.counters),
                on_first_step=self._served,
                drafters=[*models, *usual_drafters()],
            )
            entered.enter_context(scheduler)
            self._held = _Held(scheduler, record.epoch, record.draft, entered.pop_all())
        return scheduler

    def _on_slow(self, stage: StageAddress, said: str) -> None:
        EventLog(self.cluster).note(EventKind.NODE_SLOW, said, {"node": stage.name})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """As `close`, but after an error or Ctrl-C what is in flight is not waited for."""
        self._is_closed = True
        self.healer.close()
        with self._lock:
            self._let_go(_closed(), (kind, error, traceback))


def _closed() -> PipelineClosed:
    return PipelineClosed("this program has let go of the pipeline: connect to it again")
