"""A loss, from the moment it is noticed until a step comes back, in words for whoever waits."""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from pi_cluster.cluster.errors import (
    ClusterError,
    NodeLost,
    NodeStuck,
    SessionExpired,
    ShardDamaged,
    StaleEpoch,
)


@dataclass(slots=True)
class Trouble:
    """What is known of one loss, over all attempts to mend it."""

    loss: ClusterError
    names: tuple[str, ...]
    """Of the nodes that were lost; empty where a session broke over less than a node."""
    began_s: float = field(default_factory=time.monotonic)
    silent_s: float = 0.0
    """How long they had been silent when that was noticed."""
    lost_sessions: int = 0
    idle_s: float = 0.0
    """For how long it was mended, as far as anybody knew, and nobody asked."""
    mended_at_s: float | None = None
    """Since when that is so; None while somebody asks."""
    done: str = ""
    """What was done about it, for the end of its sentence; empty as long as nothing was."""

    @property
    def waited_s(self) -> float:
        """Since it was noticed, as far as somebody asked or mended."""
        until_s = time.monotonic() if self.mended_at_s is None else self.mended_at_s
        return until_s - self.began_s - self.idle_s

    @property
    def lost_s(self) -> float:
        """Since the last sign of whoever was lost."""
        return self.silent_s + self.waited_s

    def was_mended(self) -> None:
        """Whoever asks next will see whether that is so."""
        self.mended_at_s = time.monotonic()

    def was_asked(self) -> None:
        """Somebody asks, or mends, after it was mended."""
        if self.mended_at_s is not None:
            self.idle_s += time.monotonic() - self.mended_at_s
            self.mended_at_s = None

    @property
    def what(self) -> str:
        """A sentence's beginning."""
        if isinstance(self.loss, NodeLost) and (brief := self.loss.in_brief):
            later = self.names[len(self.loss.node_ids) :]  # it tells of those before
            return f"{brief}, and {listed(later)} stopped answering" if later else brief
        if self.names:
            happened = "got stuck" if isinstance(self.loss, NodeStuck) else "stopped answering"
            return f"{listed(self.names)} {happened}"
        if isinstance(self.loss, ShardDamaged):
            return str(self.loss).rpartition(": ")[0]  # without what `up` would do
        return f"the session was lost ({self.loss})"

    @property
    def back(self) -> str:
        """That whoever was lost is there again; empty where nobody was to blame."""
        if not self.names:
            return ""
        return "it is back, " if len(self.names) == 1 else "they are back, "

    def in_vain(self, waited_s: float) -> str:
        """The sentence that tells that it was not mended in time."""
        said, what = str(self.loss), self.what
        passed = f"{what}, and {waited_s:g} s have passed in vain"
        return passed if said in what else f"{passed}: {said}"

    @property
    def ended(self) -> str:
        """The sentence that tells of its end."""
        return f"{self.what}; {self.done or 'going on'} after {self.lost_s:.1f} s"


class Healing:
    """One attempt to mend a trouble, as those see it who wait for its end. For any thread."""

    def __init__(self, trouble: Trouble, loss: ClusterError) -> None:
        """``loss`` is the latest of the trouble, for which this attempt is made."""
        self.trouble, self.loss = trouble, loss
        self.said = f"{trouble.what}: looking at the nodes"
        """What is done or waited for now, a sentence."""
        self.is_hopeless = False
        """Whether nothing is done but to wait for somebody to bring a node back."""
        self._told = ""
        self._telling = threading.Lock()  # several wait, on threads of their own
        self._ended = threading.Event()
        self._failure: ClusterError | None = None

    def to_tell(self) -> str:
        """What is done now, for the first to ask since it is; nothing for the others."""
        with self._telling:
            is_new, self._told = self.said != self._told, self.said
            return self._told if is_new else ""

    @property
    def has_ended(self) -> bool:
        """Whether the question may be asked again, or never will be answered."""
        return self._ended.is_set()

    def end(self, failure: ClusterError | None = None) -> None:
        """It is mended, or is given up."""
        self._failure = failure
        # It is remembered until the next one, and would hold whoever raised it last, and the
        # session that was lost, in a circle that keeps its connections' memory.
        self.loss.with_traceback(None)
        self._ended.set()

    def check(self) -> None:
        """Raise why it was given up, if it was."""
        if self._failure:
            raise self._failure


def kind_of(loss: Exception | None) -> str:
    """To what a session is lost, in a word; nothing where it was given away."""
    match loss:
        case SessionExpired():
            return "session_expired"
        case NodeLost():
            return "node_lost"
        case ShardDamaged():
            return "shard_damaged"
        case StaleEpoch():
            return "new_pipeline"
    return ""


def listed(names: Sequence[str]) -> str:
    """``pi1``, ``pi1 and pi2``, ``pi1, pi2 and pi3``."""
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last
