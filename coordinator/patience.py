"""When a question that failed is asked again by itself, and when a person must know.

It never waits by itself, but tells for how long to: a thread and an event loop wait differently.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping

from pi_cluster.cluster.errors import (
    ClusterError,
    NodeLost,
    PipelineBusy,
    SessionYielded,
    StaleEpoch,
)
from pi_cluster.coordinator.trouble import Healing

log = logging.getLogger(__name__)

DEFAULT_WAIT_S = 30.0  # a short answer or two of somebody else's
END_OR_WAIT_LONGER = ", end it there, or give a longer --wait"
_PAUSE_S = 0.25  # a worker holds who waits for two seconds, unless too many wait already
_PAUSE_WHILE_MENDED_S = 0.05
_TOLD_AFTER_S = 2.0  # what is mended sooner needs one line, at its end
_PAUSE_WITHOUT_NODES_S = 1.0  # each try calls all nodes

_TIMES: Mapping[type[ClusterError], int] = {
    SessionYielded: 3,  # each time another one was faster
    StaleEpoch: 1,  # for the record that is read again; if that is no newer, so be it
    NodeLost: 1,  # a session may break over less than a node: after sleep, over a gap
}


class Patience:
    """For one question: its turn is awaited up to ``wait_s`` seconds, and a lost session borne.

    Where its answer has grown since, it begins anew with `renew`.
    """

    def __init__(
        self,
        wait_s: float,
        or_else: str = END_OR_WAIT_LONGER,
        on_notice: Callable[[str], None] | None = None,
        *,
        is_lasting: bool = False,
    ) -> None:
        """``on_notice`` is told, in sentences, what is waited for.

        One that is ``lasting`` waits also for nodes that are not there: somebody may bring them
        back, and who asks cannot.
        """
        self.is_lasting = is_lasting
        self.is_committed = is_lasting
        """Whether it waits for nodes that are not there: somebody reads the answer already."""
        self._wait_s = wait_s
        self._or_else = or_else
        self._on_notice = on_notice or log.info
        self._deadline: float | None = None
        self._left: dict[type[ClusterError], int] = dict(_TIMES)
        self.awaits: str | None = None
        """What was told last, a sentence; None once the question `was_asked`."""

    def renew(self) -> None:
        """The answer has grown: what was borne before counts no more."""
        self._deadline, self._left = None, dict(_TIMES)

    def was_asked(self) -> None:
        """It is waited for nothing any more."""
        self.awaits = None

    def after(self, error: ClusterError) -> float:
        """Seconds until the question may be asked again; else raises ``error``, or what to do."""
        if isinstance(error, PipelineBusy):
            return self._pause_after(error)
        kind = next((kind for kind in _TIMES if isinstance(error, kind)), None)
        if kind and not self._left[kind] and self.is_lasting:
            return self._pause_until_back(error)
        if kind is None or not self._left[kind]:
            raise error
        self._left[kind] -= 1
        if kind is NodeLost:
            self._tell(f"asking again, as the session was lost: {error}")
        return 0.0

    def until_settled(self, is_changing: Callable[[], bool]) -> Iterator[float]:
        """Seconds to wait, again and again, while the pipeline is brought up anew.

        All of them together are as long as one's turn is awaited.
        """
        if not is_changing() or not self._wait_s:
            return
        self._tell(
            f"the pipeline is being brought up anew: waiting up to {self._wait_s:g} s for it"
        )
        deadline = time.monotonic() + self._wait_s
        while is_changing() and time.monotonic() < deadline:
            yield _PAUSE_S

    def while_mended(self, healing: Healing) -> Iterator[float]:
        """Seconds to wait, again and again, while a loss is mended.

        Raises why it was given up; and what was lost, where nothing can be done but wait for
        somebody to bring a node back, and there is no answer yet that it would be lost to.
        """
        told_s = time.monotonic() + _TOLD_AFTER_S
        while not healing.has_ended:
            if healing.is_hopeless and not self.is_committed:
                raise healing.trouble.loss
            self.awaits = healing.said
            if time.monotonic() > told_s and (said := healing.to_tell()):
                self._on_notice(said)
            yield _PAUSE_WHILE_MENDED_S
        healing.check()

    def _tell(self, sentence: str) -> None:
        self.awaits = sentence
        self._on_notice(sentence)

    def _pause_after(self, busy: PipelineBusy) -> float:
        left_s = self._left_s(f"{busy}: waiting up to {self._wait_s:g} s for it to finish")
        if left_s <= 0:
            waited = f", also after {self._wait_s:g} s" if self._wait_s else ""
            raise PipelineBusy(f"{busy}{waited}: wait for it to finish{self._or_else}") from None
        return min(_PAUSE_S, left_s)

    def _pause_until_back(self, error: ClusterError) -> float:
        left_s = self._left_s(f"{error}: waiting up to {self._wait_s:g} s for the pipeline")
        if left_s <= 0:
            raise error
        return min(_PAUSE_WITHOUT_NODES_S, left_s)

    def _left_s(self, notice: str) -> float:
        now = time.monotonic()
        if self._deadline is None:
            self._deadline = now + self._wait_s
            if self._wait_s:
                self._tell(notice)
        return self._deadline - now
