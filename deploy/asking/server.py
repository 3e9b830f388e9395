"""Questions to a server, which has them answered beside those of others."""

import signal
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pi_cluster.cluster.errors import (
    ClusterError,
    NodeLost,
    NodeStuck,
    PipelineBusy,
    ServerGone,
    ServerRefused,
    ServerUnready,
    SessionExpired,
    ShardDamaged,
    StaleEpoch,
    StateError,
)
from pi_cluster.coordinator.asking.answer import Answer
from pi_cluster.coordinator.finish_reason import FinishReason
from pi_cluster.coordinator.timings import StageFigures, Timings
from pi_cluster.deploy.asking.asker import Show
from pi_cluster.deploy.asking.server_link import ServerLink
from pi_cluster.deploy.screen.output import end_line, note, notice

if TYPE_CHECKING:
    from pi_cluster.coordinator.asking.question import AskKeywords, Prompt

_LOOK_AGAIN_S = 0.5  # a server takes seconds to start
_KINDS = {
    kind.__name__: kind for kind in (NodeLost, NodeStuck, SessionExpired, ShardDamaged, StaleEpoch)
}
"""Errors against which there is a way out on the machine that has the pipeline's record."""


class ServerAsker:
    """Asks over a link; see ``Asker``."""

    def __init__(self, link: ServerLink, wait_s: float, heal_timeout_s: float) -> None:
        """``wait_s`` is how long to wait while the server answers others.

        For a server that ends in mid-answer it waits up to ``heal_timeout_s``.
        """
        self._link, self._wait_s, self._heal_timeout_s = link, wait_s, heal_timeout_s

    def check(self, prompt: "Prompt", keywords: "AskKeywords") -> None:
        """Have the server look at it."""
        self._link.post(
            "/cluster/v1/ask", {"prompt": prompt, "keywords": keywords, "only_check": True}
        )

    def answer(
        self, prompt: "Prompt", keywords: "AskKeywords", show: Show | None = None
    ) -> tuple[Answer, bool]:
        """Ask the server."""
        body = {"prompt": prompt, "keywords": keywords}
        coming = _Coming(self._link, self._wait_s, show)
        try:
            try:
                with self._link.streaming("/cluster/v1/ask", body) as lines:
                    return coming.taken(lines)
            except ServerGone as error:
                return self._gone_on_with(coming, error)
        except ClusterError:
            if show and coming.has_begun:
                end_line()
            raise

    def _gone_on_with(self, coming: "_Coming", gone: ServerGone) -> tuple[Answer, bool]:
        """The rest of an answer whose server is gone, from the next one, if there is one in time.

        Each further one that ends in mid-answer is waited for as long, if the answer has grown by
        it. Raises ``gone`` where none comes, and what one says that keeps no such answer.
        """
        grown, until_s = -1, 0.0
        while coming.id and self._heal_timeout_s:
            if coming.shown > grown:
                grown, until_s = coming.shown, time.monotonic() + self._heal_timeout_s
                notice("the server has ended in mid-answer: waiting until it is back to go on")
            elif time.monotonic() > until_s:
                break
            try:
                with self._link.streaming(f"/cluster/v1/answers/{coming.id}") as lines:
                    return coming.taken(lines)
            except (ServerGone, ServerUnready):
                time.sleep(_LOOK_AGAIN_S)
        raise gone

    def close(self) -> None:
        """Nothing is held."""


class _Coming:
    """One answer as its lines come."""

    def __init__(self, link: ServerLink, wait_s: float, show: Show | None) -> None:
        self._link, self._wait_s, self._show = link, wait_s, show
        self._began_s = time.monotonic()
        self._ticket = ""
        self.id = ""
        """By which another server goes on with it; empty as long as none can."""
        self.shown = 0
        """Characters, whichever server they came from."""
        self._passed = 0  # characters of this server's that were there before
        self._is_answered = False
        self._is_cancelled = False
        self._begins_in_thought = False
        self._has_told_wait = False

    @property
    def has_begun(self) -> bool:
        """Whether the server has taken up the question."""
        return bool(self._ticket)

    def taken(self, lines: Iterable[dict[str, Any]]) -> tuple[Answer, bool]:
        """The answer, of which only what was not shown before is shown."""
        self._passed = 0
        before = signal.signal(signal.SIGINT, self._on_interrupt)
        try:
            return self._through(lines), self._begins_in_thought
        finally:
            signal.signal(signal.SIGINT, before)

    def _on_interrupt(self, _signal: int, _frame: object) -> None:
        if not self._is_answered or self._is_cancelled:
            raise KeyboardInterrupt
        # What has come is read on, to the end that the server makes of it.
        self._is_cancelled = True
        with suppress(ServerRefused):  # it has ended meanwhile
            self._link.post("/cluster/v1/cancel", {"ticket": self._ticket})

    def _through(self, lines: Iterable[dict[str, Any]]) -> Answer:
        for line in lines:
            match line:
                case {"said": str(text)}:
                    self._part(text, is_thought=False)
                case {"thought": str(text)}:
                    self._part(text, is_thought=True)
                case {"answer": dict(told)}:
                    return _answer(told)
                case {"begin": dict(begin)}:
                    self._begin(begin)
                case {"reading": _}:
                    self._is_answered = True
                case {"waiting": {"position": int(position), "expected_s": expected_s}}:
                    self._wait(_place(position, expected_s))
                case {"held": str(reason)}:
                    self._wait(reason)
                case {"error": {"kind": "PipelineClosed", "message": str(message)}}:
                    raise ServerGone(message)
                case {"error": {"kind": kind, "message": str(message)}}:
                    raise _KINDS.get(kind, ServerRefused)(message)
        raise ServerGone("the server ended before the answer did: ask again in a moment")

    def _begin(self, told: dict[str, Any]) -> None:
        self._ticket = str(told.get("ticket"))
        self.id = str(told.get("id", ""))
        self._begins_in_thought = told.get("in_thought") is True
        for sentence in told.get("notes", ()):
            note(str(sentence))

    def _part(self, text: str, *, is_thought: bool) -> None:
        self._is_answered = True
        new = text[max(0, self.shown - self._passed) :]
        self._passed += len(text)
        self.shown = max(self.shown, self._passed)
        if self._show and new:
            self._show(new, is_thought)

    def _wait(self, reason: str) -> None:
        if not self._has_told_wait:
            self._has_told_wait = True
            notice(reason)
        if time.monotonic() - self._began_s > self._wait_s:
            raise PipelineBusy(
                f"the server has others to answer, also after {self._wait_s:.0f} s: ask later, or "
                "give a longer --wait"
            )


def _place(position: int, expected_s: float | None) -> str:
    before = "one request is" if position == 1 else f"{position} requests are"
    about = f", about {expected_s:.0f} s" if expected_s else ""
    return f"{before} before this one{about}: waiting" if position else f"next to begin{about}"


def _answer(told: dict[str, Any]) -> Answer:
    try:
        return Answer(
            told["text"],
            told["ids"],
            told["prompt_ids"],
            FinishReason(told["finish_reason"]),
            Timings(**told["timings"]),
            tuple(StageFigures(**stage) for stage in told["stages"]),
            told["seed"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise StateError(
            f"the server's answer cannot be read ({error}): run the same version here and there"
        ) from error
