"""Guesses by a small model of the same vocabulary, which computes beside the pipeline.

It reads the prompt while the pipeline does, and guesses on from its own guesses while those are
under way. What it has guessed is sent as it comes (arXiv:2407.11798 does so over many nodes). When
the text turns out otherwise, its caches go back as those of the stages do.
"""

import collections
import logging
import threading
import time
from collections.abc import Callable, Sequence

from pi_cluster.coordinator.drafting.draft_engine import DraftEngine, DraftFailed
from pi_cluster.coordinator.drafting.drafted_text import DraftedText, Reading
from pi_cluster.transformer.errors import ModelError
from pi_cluster.transformer.sampling_settings import SamplingSettings

log = logging.getLogger(__name__)

_MOST_ROWS = 64  # that are read at once of a prompt, so that other texts have their turn
_ENDS_WITHIN_S = 5.0
_WEIGHT = 0.2  # of the newest measurement
_LATE = 3  # times as long as a guess usually takes: nobody waits for it any more


class DraftModel:
    """The source whose drafters share one model. A thread of its own computes for all in turn."""

    name = "model"

    def __init__(self, engine: DraftEngine) -> None:
        """The engine is used until `close`, or until it fails; whoever made it ends it."""
        self._engine = engine
        self._news = threading.Condition()
        # The texts that have a place in its caches, whose turn it is first; and those that wait.
        self._texts: collections.deque[tuple[DraftedText, Callable[[], None]]] = collections.deque()
        self._begun = 0
        self._ended: list[int] = []
        self._each_s = 0.0
        self._reads_since_s: float | None = None
        self._is_closing = self._is_over = False
        self._thread: threading.Thread | None = None

    def begin(
        self, text: Sequence[int], sampling: SamplingSettings, on_guess: Callable[[], None]
    ) -> "ModelDrafter":
        """Guess a text, once there is room for it in the model's caches."""
        with self._news:
            self._begun += 1
            drafted = DraftedText(self._begun, text, sampling)
            if not self._is_over:
                self._texts.append((drafted, on_guess))
                self._news.notify()
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="drafts", daemon=True)
                    self._thread.start()
        return ModelDrafter(self, drafted, self._news)

    def close(self) -> None:
        """Free what the model holds and end the thread, or give it up where that takes long."""
        with self._news:
            self._is_closing = True
            for drafted, _ in tuple(self._texts):
                drafted.has_ended = True
                self.changed(drafted)
            self._news.notify()
        if self._thread is not None:
            self._thread.join(_ENDS_WITHIN_S)
            if self._thread.is_alive():
                log.warning("the draft model does not return; it is left to itself")

    @property
    def is_over(self) -> bool:
        """Whether there will be no guesses any more."""
        return self._is_over

    @property
    def is_punctual(self) -> bool:
        """Whether it is known how long it takes, and takes no longer now."""
        if self._is_over or not self._each_s:
            return False
        since = self._reads_since_s
        return since is None or time.perf_counter() - since < _LATE * self._each_s

    @property
    def seconds_each(self) -> float:
        """Between two guesses of the same text."""
        return self._each_s * max(1, min(len(self._texts), self._engine.most_texts))

    def changed(self, drafted: DraftedText) -> None:
        """A text has grown, may be guessed further, or has ended. Called with the lock held."""
        if drafted.has_ended:
            for entry in [entry for entry in self._texts if entry[0] is drafted]:
                self._texts.remove(entry)
                self._ended.append(drafted.number)
        self._news.notify()

    def _run(self) -> None:
        try:
            while self._compute():
                pass
        except (DraftFailed, ModelError) as error:
            log.warning("the draft model guesses no more, and answers go on without it: %s", error)
        except Exception:
            log.exception("the draft model failed; answers go on without it")
        finally:
            with self._news:
                self._is_over = True
                self._texts.clear()

    def _compute(self) -> bool:
        """Wait for something to do, and do it; False when all is over."""
        with self._news:
            found = self._next_reading()
            while not (found or self._ended or self._is_closing):
                self._news.wait()
                found = self._next_reading()
            ended, self._ended = self._ended, []
        for number in ended:
            self._engine.end(number)
        if found:
            self._read(*found)
        return bool(found or ended)

    def _read(self, drafted: DraftedText, on_guess: Callable[[], None], reading: Reading) -> None:
        """Have the model read, which may bring a guess."""
        began = self._reads_since_s = time.perf_counter()
        logits = self._engine.compute(drafted.number, reading.start, reading.ids)
        with self._news:
            self._reads_since_s = None
            is_new = drafted.take(reading, logits)
            if is_new:
                self._note(time.perf_counter() - began)
        if is_new:
            on_guess()

    def _next_reading(self) -> tuple[DraftedText, Callable[[], None], Reading] | None:
        """What the next of the texts has to read that have a place and may be guessed further."""
        for at, (drafted, on_guess) in enumerate(self._texts):
            if at >= self._engine.most_texts:
                break
            held = drafted.held
            reading = drafted.next_reading(_MOST_ROWS, self._engine.most_positions)
            if reading is None:
                continue
            goes_back = 0 < reading.start < held
            if goes_back and not self._engine.can_go_back(drafted.number, reading.start):
                drafted.begin_anew()
                reading = drafted.next_reading(_MOST_ROWS, self._engine.most_positions)
                assert reading, "it was wanted a moment ago"
            # Behind the others that have a place: those that wait for one keep their order.
            del self._texts[at]
            self._texts.insert(self._engine.most_texts - 1, (drafted, on_guess))
            return drafted, on_guess, reading
        return None

    def _note(self, seconds: float) -> None:
        self._each_s += (seconds - self._each_s) * (_WEIGHT if self._each_s else 1.0)


class ModelDrafter:
    """The guesses of one text."""

    def __init__(self, model: DraftModel, drafted: DraftedText, lock: threading.Condition) -> None:
        self._model = model
        self._drafted = drafted
        self._lock = lock

    @property
    def next_id(self) -> int | None:
        """What the model takes for the next id, as far as it has come."""
        with self._lock:
            return self._drafted.next_id

    @property
    def seconds_each(self) -> float:
        """How long it takes for a guess of this text."""
        return self._model.seconds_each

    @property
    def is_at_work(self) -> bool:
        """Whether it has nearly read all there is, and computes as fast as ever."""
        with self._lock:
            return self._model.is_punctual and self._drafted.is_near

    def add(self, ids: Sequence[int]) -> None:
        """The text has grown."""
        with self._lock:
            self._drafted.add(ids)
            self._model.changed(self._drafted)

    def guess(self, guesses: Sequence[int], count: int) -> list[int]:
        """What has come so far behind the ``guesses``; it goes on to as many as are wanted."""
        with self._lock:
            found = self._drafted.guess(guesses, count)
            self._model.changed(self._drafted)
            return found

    def close(self) -> None:
        """The text has ended, and frees its place."""
        with self._lock:
            self._drafted.has_ended = True
            self._model.changed(self._drafted)
