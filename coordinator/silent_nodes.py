"""Who is silent while a session waits: told to whoever waits, and given up in the end.

Every node is asked whether it is there, and tells how long it has not heard the next one. A node
that computes for long answers meanwhile, so it is never called silent; it may be slow.
"""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from pi_cluster.cluster.errors import NodeLost, SessionExpired
from pi_cluster.cluster.silence import Silence
from pi_cluster.cluster.wire.dialing import Dialer
from pi_cluster.cluster.wire.pulse import Pulse
from pi_cluster.coordinator.silent import (
    NOBODY,
    Silent,
    all_lost,
    all_silent,
    link_silent,
    node_silent,
    stopped,
)
from pi_cluster.coordinator.slow_stages import OnSlow, Seen, SlowStages
from pi_cluster.coordinator.stage_address import StageAddress
from pi_cluster.coordinator.step_times import StepTimes
from pi_cluster.coordinator.wait_limits import WaitLimits
from pi_cluster.protos import pi_cluster_pb2 as pb

_LOOK_EVERY_S = 0.25
_HEARD_S = 1.0  # twice as long as between two questions: up to here it is no silence
_RECALLED_S = 20.0
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # goes on while a laptop sleeps

OnNotice = Callable[[str], None]
"""Takes a sentence for whoever waits; called on another thread."""


class Watch:
    """Asks all stages of a session from `begin` to `close`."""

    def __init__(
        self,
        stages: Sequence[StageAddress],
        dialer: Dialer,
        session: str,
        on_lost: Callable[[NodeLost], None],
        times: StepTimes,
        limits: WaitLimits,
        on_notice: OnNotice | None = None,
        on_slow: OnSlow | None = None,
        on_reply: Callable[[int, pb.PingReply], None] = lambda *_: None,
    ) -> None:
        """``on_lost`` is called once, on another thread, when the session is to be given up.

        ``on_reply`` is given what each stage answers, by its number, on yet other threads.
        """
        self._on_reply = on_reply
        self._stages = stages
        self._dialer = dialer
        self._session = session
        self._on_lost = on_lost
        self._limits = limits
        self._on_notice = on_notice or (lambda _: None)
        self._slow = SlowStages(
            *(stages, times, limits, self._on_notice, on_slow or (lambda _, __: None))
        )
        self._pulses: list[Pulse] = []
        self._links = [Silence() for _ in stages[1:]]
        self._progress = Silence()
        self._stall = Silence()
        self._is_awaited = False
        self._told: dict[tuple[str, ...], Silent] = {}
        self._recent: tuple[float, Silent] | None = None
        self._looked_at = time.clock_gettime(_CLOCK)
        self._slept_s = self._slept_at = 0.0
        self._closing = threading.Event()

    def begin(self) -> None:
        """Ask from now on."""
        self._pulses = [
            Pulse(stage.peer, self._dialer, self._session, partial(self._on_reply, index))
            for index, stage in enumerate(self._stages)
        ]
        threading.Thread(target=self._run, name="watch", daemon=True).start()

    def close(self) -> None:
        """Ask no more."""
        self._closing.set()
        for pulse in self._pulses:
            pulse.close()

    def expect(self, is_awaited: bool) -> None:
        """Whether something is to come from the pipeline, from now on."""
        if is_awaited and not self._is_awaited:
            self._progress.heard()
            self._stall.heard()
        self._is_awaited = is_awaited

    def came(self) -> None:
        """Something has come from the pipeline."""
        self._progress.heard()
        self._stall.heard()

    def own_silence(self) -> SessionExpired | None:
        """What to say of a session that has broken after we slept for too long, if we did."""
        self._look_at_ourselves()
        if self._slept_s < self._limits.silent_s or _ago_s(self._slept_at) > _RECALLED_S:
            return None
        return SessionExpired(
            f"this program was stopped or asleep for {self._slept_s:.0f} s, and the nodes ended "
            "the session meanwhile: ask again"
        )

    def recent(self) -> NodeLost | None:
        """Who was silent lately, for a session that has broken."""
        if self._recent and _ago_s(self._recent[0]) < _RECALLED_S:
            return self._recent[1].lost
        return None

    def _run(self) -> None:
        while not self._closing.wait(_LOOK_EVERY_S):
            self._look_at_ourselves()
            silent = self._silent()
            if silent:
                self._recent = time.clock_gettime(_CLOCK), silent[0]
            if lost := self._gone() or self._given_up(silent) or self._without_progress(silent):
                self._on_lost(lost)
                return
            waited_s = self._progress.look() if self._is_awaited else 0.0
            if waited_s > self._limits.told_after_s - _HEARD_S:
                self._tell_of(silent)
            self._tell_who_is_back(silent)

    def _gone(self) -> NodeLost | None:
        """Whose worker has ended: others may notice only when they have computed their steps."""
        pairs = zip(self._stages, self._pulses, strict=True)
        gone = [stage for stage, pulse in pairs if pulse.is_gone]
        return stopped(gone) if gone else None

    def _given_up(self, silent: Sequence[Silent]) -> NodeLost | None:
        """Who has been silent for too long, and if anybody waits, has been waited for as well."""
        limit_s = self._limits.silent_s
        if self._is_awaited and self._progress.look() <= limit_s:
            return None
        if not any(one.seconds > limit_s for one in silent):
            return None
        return all_lost([one for one in silent if one.seconds > limit_s - _HEARD_S])

    def _without_progress(self, silent: Sequence[Silent]) -> NodeLost | None:
        """Whose step takes too long though all answer, as far as anybody waits for one."""
        if not self._is_awaited:
            return None
        replies = [pulse.reply for pulse in self._pulses]
        if silent or any(reply.computing_ms for reply in replies):
            self._stall.heard()
        elif self._stall.look() > self._limits.stalled_after_s:
            return NodeLost(
                f"nothing has come from the pipeline for {self._limits.stalled_after_s:.0f} s, "
                "though all its nodes answer and none computes: look at the network between them",
                awaited_s=self._limits.stalled_after_s,
            )
        return self._slow.look(
            [
                Seen(reply.computing_ms / 1000, reply.computing_rows, pulse.silent_s)
                for reply, pulse in zip(replies, self._pulses, strict=True)
            ]
        )

    def _look_at_ourselves(self) -> None:
        now = time.clock_gettime(_CLOCK)
        slept_s = now - self._looked_at
        self._looked_at = now
        if slept_s > self._limits.told_after_s:
            self._slept_s, self._slept_at = slept_s, now

    def _silent(self) -> list[Silent]:
        """All who have been silent for long enough to be told of."""
        told_s = self._limits.told_after_s
        seconds = [pulse.silent_s for pulse in self._pulses]
        if len(seconds) > 1 and min(seconds) > told_s:
            return [all_silent(self._stages, min(seconds))]
        found = [
            node_silent(stage, silent_s)
            for stage, silent_s in zip(self._stages, seconds, strict=True)
            if silent_s > told_s
        ]
        for index, link in enumerate(self._links):
            silent_s = self._pulses[index].next_silent_s
            # A silent node is silent for the one before it too, and that one tells of it later
            # than the node itself.
            both_answer = max(seconds[index : index + 2]) < _HEARD_S
            if not both_answer or silent_s < _HEARD_S:
                link.heard()
            elif link.look() > _HEARD_S and silent_s > told_s:
                found.append(link_silent(self._stages[index], self._stages[index + 1], silent_s))
        return found

    def _tell_of(self, silent: Iterable[Silent]) -> None:
        for one in silent:
            if one.node_ids not in self._told:
                self._on_notice(one.told(self._limits.give_up_after_s))
            self._told[one.node_ids] = one

    def _tell_who_is_back(self, silent: Iterable[Silent]) -> None:
        still = {one.node_ids for one in silent}
        nodes = {ids[0] for ids in still if len(ids) == 1}
        if NOBODY in still:
            return
        for key in self._told.keys() - still:
            if nodes.intersection(key) or (key == NOBODY and still):
                continue  # it is silent in another way now
            was = self._told.pop(key)
            self._on_notice(f"{was.does_again} again, after {was.seconds:.1f} s")


def _ago_s(when: float) -> float:
    return time.clock_gettime(_CLOCK) - when
