"""Who guesses a text, and how far: whoever is right most often in the time that a step takes.

Each drafter is held to what it would have guessed, also where another one was asked or nobody was.
So nothing has to be sent to find out whether guessing pays again.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from pi_cluster.coordinator.drafting.acceptance import Acceptance
from pi_cluster.coordinator.drafting.drafter import Drafter, DraftSource
from pi_cluster.coordinator.drafting.stakes import Stakes
from pi_cluster.transformer.sampling_settings import SamplingSettings

_TRY_EVERY = 16  # ids after which somebody computes a guess again who did not earn it


@dataclass(frozen=True, slots=True)
class Guess:
    """An id that may come next, and who says so."""

    token: int
    by: str


class _Contestant:
    """A drafter, and how often it was right: in this text, and in all."""

    def __init__(self, drafter: Drafter, in_all: Acceptance) -> None:
        self.drafter = drafter
        self._in_all = in_all
        self._here = in_all.of_a_text()

    @property
    def share(self) -> float:
        """Of its guesses, those that are right."""
        return self._here.share

    def worth(self, step_s: float) -> float:
        """Right guesses in a step's time, at most one for each step."""
        return self.share * step_s / max(step_s, self.drafter.seconds_each)

    def hold_to(self, token: int) -> None:
        """The text goes on with this id."""
        guess = self.drafter.next_id
        if guess is not None:
            self._here.count(guess == token)
            self._in_all.count(guess == token)


class Judge:
    """Of one text. Used by the scheduler's thread alone."""

    def __init__(self, drafters: Mapping[str, tuple[Drafter, Acceptance]]) -> None:
        """Each drafter by its name, with how often its like were right in all texts."""
        self._contestants = {name: _Contestant(*one) for name, one in drafters.items()}
        self._grown = 0

    def add(self, token: int, *, is_sampled: bool) -> None:
        """The text has grown by an id. Where that was forced, guessing it was no merit."""
        self._grown += 1
        for one in self._contestants.values():
            if is_sampled:
                one.hold_to(token)
            one.drafter.add([token])

    def guess(self, before: Sequence[Guess], count: int, stakes: Stakes) -> list[Guess]:
        """Up to ``count`` guesses behind those ``before``, as far as they are worth it."""
        chance = math.prod(self._share(guess.by) for guess in before)
        ids = [guess.token for guess in before]
        found: list[Guess] = []
        is_taken = False
        for name, one in self._by_worth(stakes.step_s):
            ahead = 0 if is_taken else stakes.depth(chance, one.share)
            guessed = one.drafter.guess(ids, ahead or self._tries)
            if ahead and not is_taken:
                found = [Guess(token, name) for token in guessed[: min(count, ahead)]]
                # A worse guess in its place would only keep the better one away.
                is_taken = bool(found) or one.drafter.is_at_work
        return found

    def close(self) -> None:
        """The text has ended."""
        for one in self._contestants.values():
            one.drafter.close()

    @property
    def _tries(self) -> int:
        return int(self._grown % _TRY_EVERY == 0)

    def _share(self, name: str) -> float:
        """How often a guess is right; those of a grammar as if always."""
        one = self._contestants.get(name)
        return one.share if one else 1.0

    def _by_worth(self, step_s: float) -> list[tuple[str, _Contestant]]:
        return sorted(self._contestants.items(), key=lambda item: -item[1].worth(step_s))


class Drafting:
    """All who guess for one scheduler, and how often each of them was right so far."""

    def __init__(self, sources: Sequence[DraftSource], on_guess: Callable[[], None]) -> None:
        """``on_guess`` is called, on any thread, when there is a guess that was waited for."""
        self._sources = sources
        self._on_guess = on_guess
        self._in_all = {source.name: Acceptance.of_all_texts() for source in sources}

    def judge(self, text: Sequence[int], sampling: SamplingSettings) -> Judge:
        """Have a text guessed, which is sampled so."""
        return Judge(
            {
                source.name: (
                    source.begin(text, sampling, self._on_guess),
                    self._in_all[source.name],
                )
                for source in self._sources
            }
        )

    def close(self) -> None:
        """There will be no texts any more."""
        for source in self._sources:
            source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
