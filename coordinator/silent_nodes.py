"""Who is silent while a session waits: told to whoever waits, and given up in the end.

Every node is asked whether it is there, and tells how long it has not heard the next one. A node
that computes for long answers meanwhile, so it is never called silent.
"""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from pi_cluster.cluster import settings
from pi_cluster.cluster.errors import NodeLost, SessionExpired
from pi_cluster.cluster.silence import Silence
from pi_cluster.cluster.wire.dialing import Dialer
from pi_cluster.cluster.wire.peer import Peer
from pi_cluster.cluster.wire.pulse import Pulse
from pi_cluster.protos import pi_cluster_pb2 as pb

_LOOK_EVERY_S = 0.25
_HEARD_S = 1.0  # twice as long as between two questions: up to here it is no silence
_RECALLED_S = 20.0
_NOBODY: tuple[str, ...] = ()  # when no node answers, it may be none of them
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # goes on while a laptop sleeps

OnNotice = Callable[[str], None]
"""Takes a sentence for whoever waits; called on another thread."""


@dataclass(frozen=True, slots=True)
class Watched:
    """A node to watch."""

    peer: Peer
    label: str
    """For messages."""


@dataclass(frozen=True, slots=True)
class _Silent:
    """Somebody whom others wait for."""

    does_not: str
    """A sentence's beginning: who has not answered, or does not reach whom."""
    does_again: str
    node_ids: tuple[str, ...]
    look_at: str
    seconds: float

    @property
    def told(self) -> str:
        limit_s = settings.SILENCE_LIMIT_S
        return f"{self.does_not} for {self.seconds:.0f} s; waiting up to {limit_s:.0f} s"

    @property
    def lost(self) -> NodeLost:
        return NodeLost(f"{self.does_not} for {self.seconds:.0f} s: {self.look_at}", self.node_ids)


def _all_lost(silent: Sequence[_Silent]) -> NodeLost:
    """The error of several who fell silent together."""
    *others, last = silent
    words = "".join(f"{one.does_not}, " for one in others)
    ids = dict.fromkeys(node_id for one in silent for node_id in one.node_ids)
    return NodeLost(f"{words}{last.lost}", tuple(ids), was_awaited=True)


class Watch:
    """Asks all stages of a session from `begin` to `close`."""

    def __init__(
        self,
        stages: Sequence[Watched],
        dialer: Dialer,
        session: str,
        on_notice: OnNotice | None,
        on_lost: Callable[[NodeLost], None],
        on_reply: Callable[[int, pb.PingReply], None] = lambda *_: None,
    ) -> None:
        """``on_lost`` is called once, on another thread, when the session is to be given up.

        ``on_reply`` is given what each stage answers, by its number, on yet other threads.
        """
        self._on_reply = on_reply
        self._stages = stages
        self._dialer = dialer
        self._session = session
        self._on_notice = on_notice or (lambda _: None)
        self._on_lost = on_lost
        self._pulses: list[Pulse] = []
        self._links = [Silence() for _ in stages[1:]]
        self._progress = Silence()
        self._is_awaited = False
        self._told: dict[tuple[str, ...], _Silent] = {}
        self._recent: tuple[float, _Silent] | None = None
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
        self._is_awaited = is_awaited

    def came(self) -> None:
        """Something has come from the pipeline."""
        self._progress.heard()

    def own_silence(self) -> SessionExpired | None:
        """What to say of a session that has broken after we slept for too long, if we did."""
        self._look_at_ourselves()
        if self._slept_s < settings.SILENCE_LIMIT_S or _ago_s(self._slept_at) > _RECALLED_S:
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
            waited_s = self._progress.look() if self._is_awaited else 0.0
            if silent:
                self._recent = time.clock_gettime(_CLOCK), silent[0]
            limit_s = settings.SILENCE_LIMIT_S
            has_waited = not self._is_awaited or waited_s > limit_s
            if has_waited and any(one.seconds > limit_s for one in silent):
                self._on_lost(_all_lost([s for s in silent if s.seconds > limit_s - _HEARD_S]))
                return
            if waited_s > settings.SILENCE_TOLD_S - _HEARD_S:
                self._tell_of(silent)
            self._tell_who_is_back(silent)

    def _look_at_ourselves(self) -> None:
        now = time.clock_gettime(_CLOCK)
        slept_s = now - self._looked_at
        self._looked_at = now
        if slept_s > settings.SILENCE_TOLD_S:
            self._slept_s, self._slept_at = slept_s, now

    def _silent(self) -> list[_Silent]:
        """All who have been silent for long enough to be told of."""
        seconds = [pulse.silent_s for pulse in self._pulses]
        if len(seconds) > 1 and min(seconds) > settings.SILENCE_TOLD_S:
            return [self._all_silent(min(seconds))]
        found = [
            _node_silent(stage, silent_s)
            for stage, silent_s in zip(self._stages, seconds, strict=True)
            if silent_s > settings.SILENCE_TOLD_S
        ]
        for index, link in enumerate(self._links):
            silent_s = self._pulses[index].next_silent_s
            # A silent node is silent for the one before it too, and that one tells of it later
            # than the node itself.
            both_answer = max(seconds[index : index + 2]) < _HEARD_S
            if not both_answer or silent_s < _HEARD_S:
                link.heard()
            elif link.look() > _HEARD_S and silent_s > settings.SILENCE_TOLD_S:
                found.append(_link_silent(self._stages[index], self._stages[index + 1], silent_s))
        return found

    def _all_silent(self, seconds: float) -> _Silent:
        names = ", ".join(stage.peer.name for stage in self._stages)
        return _Silent(
            f"none of the {len(self._stages)} nodes ({names}) has answered",
            "the nodes answer",
            _NOBODY,
            "see whether this computer's network is up, and theirs",
            seconds,
        )

    def _tell_of(self, silent: Iterable[_Silent]) -> None:
        for one in silent:
            if one.node_ids not in self._told:
                self._on_notice(one.told)
            self._told[one.node_ids] = one

    def _tell_who_is_back(self, silent: Iterable[_Silent]) -> None:
        still = {one.node_ids for one in silent}
        nodes = {ids[0] for ids in still if len(ids) == 1}
        if _NOBODY in still:
            return
        for key in self._told.keys() - still:
            if nodes.intersection(key) or (key == _NOBODY and still):
                continue  # it is silent in another way now
            was = self._told.pop(key)
            self._on_notice(f"{was.does_again} again, after {was.seconds:.1f} s")


def _ago_s(when: float) -> float:
    return time.clock_gettime(_CLOCK) - when


def _node_silent(stage: Watched, seconds: float) -> _Silent:
    return _Silent(
        f"{stage.label} has not answered",
        f"{stage.peer.name} answers",
        (stage.peer.node_id,),
        "look at that node",
        seconds,
    )


def _link_silent(stage: Watched, following: Watched, seconds: float) -> _Silent:
    return _Silent(
        f"{stage.label} has not reached {following.label}",
        f"{stage.peer.name} reaches {following.peer.name}",
        (stage.peer.node_id, following.peer.node_id),
        "look at the network between these two",
        seconds,
    )
