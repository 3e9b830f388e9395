"""Mends a pipeline whose session was lost, for all who wait for it.

One healer serves all questions of a program. Each loss is mended on a thread of its own, for which
they wait as they like (`Healing`). Programs beside it are kept out by the lock of the record.
"""

import functools
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from pi_cluster.cluster import settings
from pi_cluster.cluster.errors import (
    ClusterError,
    NodeLost,
    NodeStuck,
    PipelineClosed,
    SessionExpired,
    ShardDamaged,
)
from pi_cluster.cluster.wire.dialing import Dialer
from pi_cluster.coordinator.healing.losses import MOST_LOSSES, Losses
from pi_cluster.coordinator.records.events import EventKind, EventLog
from pi_cluster.coordinator.records.pipeline_record import PipelineRecord
from pi_cluster.coordinator.trouble import Healing, Trouble, kind_of

if TYPE_CHECKING:
    from pi_cluster.coordinator.healing.mending import Means, Mending


class Healer:
    """Mends one cluster's pipeline for one program, from any thread."""

    def __init__(
        self,
        cluster: str,
        digest: str,
        dialer: Dialer,
        on_notice: Callable[[str], None],
        timeout_s: float = settings.HEAL_TIMEOUT_S,
        on_healed: Callable[[Trouble], None] = lambda _: None,
        on_given_up: Callable[[], None] = lambda: None,
    ) -> None:
        """``digest`` is that of the store whose pipeline is mended, and of no other.

        After ``timeout_s`` a loss is given up; with 0 it never is mended. ``on_healed`` and
        ``on_given_up`` are told of each end, on any thread.
        """
        self.timeout_s = timeout_s
        self._cluster = cluster
        self._on_notice = on_notice
        self._on_healed, self._on_given_up = on_healed, on_given_up
        self._events = EventLog(cluster)
        self._digest, self._dialer = digest, dialer
        self._losses = Losses()
        self._means: Means | None = None
        self._lock = threading.Lock()  # of the trouble and of who mends it
        self._trouble: Trouble | None = None
        self._healing: Healing | None = None
        self._thread: threading.Thread | None = None
        self._closing = threading.Event()

    @property
    def is_on(self) -> bool:
        """Whether anything is mended."""
        return self.timeout_s > 0

    def mends(self, loss: ClusterError) -> bool:
        """Whether something is done about such a loss."""
        is_ours = isinstance(loss, NodeLost | ShardDamaged) and not isinstance(loss, SessionExpired)
        return self.is_on and is_ours

    @property
    def under_way(self) -> Healing | None:
        """What is being mended now."""
        healing = self._healing
        return None if healing is None or healing.has_ended else healing

    def mend(self, loss: ClusterError, record: PipelineRecord) -> Healing:
        """Begin to mend what was lost, or join whoever does so already.

        Who learns late of a loss that others have seen to joins an attempt that has ended.
        """
        with self._lock:
            if self._closing.is_set():
                raise PipelineClosed("this program has let go of the pipeline: connect to it again")
            healing = self._healing
            if healing and (healing.loss is loss or not healing.has_ended):
                return healing
            trouble = self._trouble = self._known(loss, record)
            healing = self._healing = Healing(trouble, loss)
            work = functools.partial(self._run, healing, record)
            self._thread = threading.Thread(target=work, name="healing", daemon=True)
            self._thread.start()
            return healing

    def asked(self) -> None:
        """A session begins, over a pipeline that may have been mended some time ago."""
        with self._lock:
            if self._trouble:
                self._trouble.was_asked()

    def served(self) -> Trouble | None:
        """A step has come back: the trouble is over. Returns which one that was, if any."""
        with self._lock:
            trouble, self._trouble = self._trouble, None
        if trouble is None:
            return None
        self._on_notice(trouble.ended)
        nodes, seconds = list(trouble.names), round(trouble.lost_s, 3)
        about = {"cause": kind_of(trouble.loss), "nodes": nodes, "seconds": seconds}
        self._events.note(EventKind.HEALED, trouble.ended, about)
        self._on_healed(trouble)
        return trouble

    def set_aside(self) -> frozenset[str]:
        """Ids of nodes that come and go."""
        return self._losses.set_aside(time.monotonic())

    def close(self) -> None:
        """Mend nothing any more."""
        with self._lock:
            self._closing.set()
            thread = self._thread
        if thread:
            # Shards may be under way for minutes, for which nobody waits any more.
            thread.join(settings.CALL_TIMEOUT_S)

    def _known(self, loss: ClusterError, record: PipelineRecord) -> Trouble:
        """The trouble that a loss belongs to: it may be the next one before a step came back."""
        ids = loss.node_ids if isinstance(loss, NodeLost) else ()
        names = {s.node_id: s.name for s in record.addresses if s.node_id in ids}
        trouble = self._trouble
        if trouble is None:
            silent_s = loss.awaited_s if isinstance(loss, NodeLost) else 0.0
            trouble = Trouble(loss, tuple(names.values()), silent_s=silent_s)
        else:
            trouble.was_asked()
            new = [name for name in names.values() if name not in trouble.names]
            trouble.names = (*trouble.names, *new)
        now = time.monotonic()
        for node_id, name in names.items():
            self._events.note(EventKind.NODE_LOST, str(loss), {"node": name})
            is_stuck = isinstance(loss, NodeStuck)  # it answers as if it were well
            if self._losses.note(node_id, now, MOST_LOSSES if is_stuck else 1):
                why = "got stuck" if is_stuck else "was lost again and again"
                said = f"{name} {why}: others do its work for a while"
                self._events.note(EventKind.NODE_SET_ASIDE, said, {"node": name})
        return trouble

    def _run(self, healing: Healing, record: PipelineRecord) -> None:
        try:
            self._mending(healing).run(record)
            healing.trouble.was_mended()
            healing.end()
        except ClusterError as failure:
            self._give_up(healing, failure)
        except BaseException as failure:
            self._give_up(healing, NodeLost(f"healing failed: {failure!r}"))
            raise

    def _mending(self, healing: Healing) -> "Mending":
        from pi_cluster.coordinator.healing.mending import Means, Mending

        self._means = self._means or Means(
            *(self._cluster, self._digest, self._dialer, self.timeout_s),
            self._losses,
        )
        return Mending(healing, self._means, self._closing)

    def _give_up(self, healing: Healing, failure: ClusterError) -> None:
        with self._lock:
            self._trouble = None
        if not isinstance(failure, PipelineClosed):  # then nobody wants it healed any more
            self._events.note(EventKind.HEAL_FAILED, f"{healing.trouble.what}: {failure}")
            self._on_given_up()
        healing.end(failure)
