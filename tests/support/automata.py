"""Constraints without a grammar: random automata over ids, and what a text is that keeps to one."""

import random
from collections.abc import Sequence

from pi_cluster.coordinator.logprobs import TokenLogprobs


class Automaton:
    """From each of its states some ids lead on: many, a few, or one, which is then forced.

    ``ends`` are ids that end the text, allowed in some states; state 0 allows everything.
    """

    def __init__(self, seed: int, vocab_size: int, ends: Sequence[int] = (), states: int = 12):
        draw = random.Random(seed)
        self.allowed: list[set[int] | None] = [None]
        for number in range(1, states):
            count = draw.choice([1, 1, 1, 1, 2, 5, vocab_size // 2])
            ids = set(draw.sample(range(vocab_size), count)) - set(ends)
            self.allowed.append(ids or {number})
        self.may_end = {state for state in range(states) if draw.random() < 0.2}
        self.ends = ends
        self.vocab_size = vocab_size
        self._first = draw.randrange(1, states)
        self._leap = draw.randrange(1, 97)

    def state_of(self, answer: Sequence[int]) -> int:
        """Where it stands after an answer's ids."""
        state = self._first
        for token in answer:
            state = (state * 5 + token * self._leap + 1) % len(self.allowed)
        return state

    def choices(self, answer: Sequence[int]) -> list[int] | None:
        """What may come next, rising; None for everything."""
        state = self.state_of(answer)
        ids = self.allowed[state]
        if ids is None:
            return None
        return sorted(ids | (set(self.ends) if state in self.may_end else set()))


class OfAutomaton:
    """A constraint that keeps a text to an automaton; ``fails_at`` so many ids it raises."""

    def __init__(self, automaton: Automaton, fails_at: int | None = None) -> None:
        self._automaton = automaton
        self._fails_at = fails_at
        self.answer: list[int] = []

    @property
    def is_finished(self) -> bool:
        return False

    def mask(self) -> bytes | None:
        if self._fails_at is not None and len(self.answer) >= self._fails_at:
            raise RuntimeError("a fault of the grammar")
        ids = self._automaton.choices(self.answer)
        if ids is None:
            return None
        bits = bytearray(self._automaton.vocab_size // 8 + 5)
        for token in ids:
            bits[token // 8] |= 1 << token % 8
        return bytes(bits)

    def forced(self) -> Sequence[int]:
        ahead: list[int] = []
        while len(ahead) < 40:
            ids = self._automaton.choices([*self.answer, *ahead])
            if ids is None or len(ids) != 1:
                break
            ahead += ids
        return ahead

    def likely(self) -> Sequence[int]:
        return ()

    def accept(self, token: int) -> None:
        ids = self._automaton.choices(self.answer)
        assert ids is None or token in ids, f"{token} is not one of {ids}"
        self.answer.append(token)

    def rollback(self, count: int) -> None:
        assert count <= len(self.answer)
        del self.answer[len(self.answer) - count :]


class Script:
    """A constraint with one answer, known from the beginning: all of it is forced."""

    def __init__(self, ids: Sequence[int], *, is_dead_behind: bool = False) -> None:
        self._ids = list(ids)
        self._is_dead_behind = is_dead_behind
        self._at = 0

    @property
    def is_finished(self) -> bool:
        return self._at == len(self._ids) and not self._is_dead_behind

    def mask(self) -> bytes | None:
        assert self._is_dead_behind
        return b""

    def forced(self) -> Sequence[int]:
        return self._ids[self._at :]

    def likely(self) -> Sequence[int]:
        return ()

    def accept(self, token: int) -> None:
        assert token == self._ids[self._at]
        self._at += 1

    def rollback(self, count: int) -> None:
        self._at -= count
        assert self._at >= 0


def probabilities(logprobs: Sequence[TokenLogprobs]) -> list[tuple[int, float]]:
    """Ids and log-probabilities, without the alternatives."""
    return [(one.id, one.logprob) for one in logprobs]
