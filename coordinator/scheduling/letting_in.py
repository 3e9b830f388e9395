"""Who comes in next: requests in their turn, while caches have room and nodes have memory."""

import time
from collections.abc import Iterator, Sequence

from pi_cluster.cluster.errors import PutBack
from pi_cluster.coordinator.drafting.judge import Drafting
from pi_cluster.coordinator.generation import Generation, GenerationOptions
from pi_cluster.coordinator.scheduling.counters import Counters
from pi_cluster.coordinator.scheduling.guide import Guide
from pi_cluster.coordinator.scheduling.relief import Relief
from pi_cluster.coordinator.scheduling.requests import Requests
from pi_cluster.coordinator.scheduling.residents import Placement, Residents
from pi_cluster.coordinator.scheduling.running import Running
from pi_cluster.coordinator.scheduling.sequence import SequenceState
from pi_cluster.coordinator.scheduling.texts import Texts
from pi_cluster.coordinator.served_model import ServedModel
from pi_cluster.coordinator.session import Session
from pi_cluster.coordinator.trouble import listed

_IS_SHORT = "is short of memory; new texts wait until it has some to spare"
_ARE_SHORT = "are short of memory; new texts wait until they have some to spare"


def most_positions(
    model: ServedModel, prompt_ids: Sequence[int], options: GenerationOptions
) -> int:
    """Positions of a text at its end: all but the last token, which is never sent."""
    return model.longest(len(prompt_ids), options.max_tokens) - 1


class LettingIn:
    """From requests that wait to texts that run. Used by the scheduler's thread alone."""

    def __init__(
        self,
        session: Session,
        model: ServedModel,
        requests: Requests,
        residents: Residents,
        texts: Texts,
        counters: Counters,
        drafting: Drafting,
    ) -> None:
        self._session = session
        self._model = model
        self._requests = requests
        self._residents = residents
        self._texts = texts
        self._counters = counters
        self._drafting = drafting
        self._relief = Relief()

    def all_with_room(self) -> Iterator[Running]:
        """Let requests in as long as their caches have room; each goes to its text at once."""
        self._ease_memory()
        while generation := self._requests.first:
            if not self._relief.lets_in(now := time.monotonic(), len(self._texts.running)):
                break
            placement = self._place(generation)
            if placement is None:
                break
            self._requests.let_in(generation)
            self._relief.let_in(now)
            for number in placement.evicted:
                self._session.end_sequence(number)
            self._count(generation, placement.state.shared)
            yield self._begin(generation, placement.state)

    def _ease_memory(self) -> None:
        """Make room where a node is short of memory.

        What is kept for reuse goes first. If that is not enough, texts go back to wait, the last
        one first; the oldest goes on, so that something always ends.
        """
        short, now = self._session.short_of_memory, time.monotonic()
        reason = f"{listed(short)} {_IS_SHORT if len(short) == 1 else _ARE_SHORT}" if short else ""
        self._requests.hold_back(reason)
        if not short:
            self._relief.is_over()
            return
        self._relief.is_short(now)
        for number in self._residents.let_go():
            self._session.end_sequence(number)
            self._relief.acted(now)
        if len(self._texts.running) > 1 and self._relief.needs_more(now):
            self._texts.fail(self._texts.running[-1], PutBack(reason))
            self._relief.acted(now)

    def _place(self, generation: Generation) -> Placement | None:
        options, prompt = generation.options, generation.prompt_ids
        return self._residents.place(
            *(prompt, most_positions(self._model, prompt, options), options.candidates),
            one_off=options.one_off,
            is_shared=not options.reads_every_row,
        )

    def _count(self, generation: Generation, shared: int) -> None:
        measurement = generation.measurement
        if not generation.answered:  # else it has been counted
            measurement.cached_tokens = shared
        if not measurement.was_let_in:  # else it is asked again
            measurement.was_let_in = True
            self._counters.prompt_tokens += len(generation.prompt_ids)
            self._counters.cached_tokens += shared

    def _begin(self, generation: Generation, state: SequenceState) -> Running:
        guide = None
        if generation.constraint:
            guide = Guide(generation.constraint, self._model.vocab_size, self._model.eos_ids)
        running = Running(generation, state, guide, self._drafting)
        self._texts.add(running)
        generation.begin(state.positions_read)
        return running
