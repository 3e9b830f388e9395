"""What the next step carries: pure decisions over the texts that are running."""

import collections
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from pi_cluster.coordinator.finish_reason import FinishReason
from pi_cluster.coordinator.generation import Generation
from pi_cluster.coordinator.pooling import Pooling
from pi_cluster.coordinator.scheduling.drafts import DraftDepth, Drafter, NgramDrafter
from pi_cluster.coordinator.scheduling.guide import Guide
from pi_cluster.coordinator.scheduling.pace import Pace
from pi_cluster.coordinator.scheduling.sequence import SequenceState
from pi_cluster.coordinator.served_model import ServedModel
from pi_cluster.coordinator.steps import StepChunk

_MOST_CANDIDATES = 1000


class GuessFailed(Exception):
    """A constraint failed while a text was guessed; the cause is what it raised."""

    def __init__(self, running: "Running") -> None:
        super().__init__()
        self.running = running


class Running:
    """A request whose sequence has its place in the caches."""

    def __init__(
        self, generation: Generation, state: SequenceState, guide: Guide | None = None
    ) -> None:
        self.generation = generation
        self.state = state
        self.seen = set(state.text)
        self.generated = collections.Counter[int]()
        """How often each id was generated, if the sampling asks for it."""
        self.opening: list[int] = []
        """Ids that were forced before any was sampled, until they are told."""
        self.settled = range(0)
        """Positions behind which ids were forced last: rows of guesses there may still come."""
        self._guide = guide
        self._has_logprobs = generation.options.logprobs is not None
        self._counts = generation.options.sampling.counts_generated
        if self._counts and generation.answered:
            self.generated.update(state.text[-generation.answered :])
        self._prompt_length = self._begun = len(state.text)
        self._depth = DraftDepth()
        self._drafter: Drafter | None = None
        # Many logits of every guess would cost more to send than a guess is worth.
        few = 0 < state.candidates <= _MOST_CANDIDATES
        if generation.options.draft and few and not generation.options.pooling:
            self._drafter = NgramDrafter()
            self._drafter.add(state.text)

    @property
    def is_decoding(self) -> bool:
        """Whether its prompt has passed and its text grows."""
        return len(self.state.text) > self._begun

    @property
    def is_ready(self) -> bool:
        """Whether the last sampled id waits to be sent."""
        return self.is_decoding and self.state.unsent > 0

    @property
    def can_guess(self) -> bool:
        """Whether its ids may be guessed ahead."""
        return self._drafter is not None or (self._guide is not None and self._has_logprobs)

    @property
    def is_forced(self) -> bool:
        """Whether the next id is certain."""
        return bool(self._forced)

    @property
    def _forced(self) -> Sequence[int]:
        return self._guide.forced if self._guide else ()

    def begin(self, model: ServedModel) -> FinishReason | None:
        """Add the opening that is forced, which is sent with the prompt; whether that is all."""
        self.opening, reason = self.add_forced(model)
        self._begun = len(self.state.text)
        return reason

    def add_forced(self, model: ServedModel) -> tuple[list[int], FinishReason | None]:
        """Add what follows for certain; what that was, and why the text ended with it.

        Where every id wants its log-probability, certain ids travel as guesses do instead, which
        come with their logits.
        """
        added: list[int] = []
        before = len(self.state.text) - 1
        reason = self.end_after(model)
        while not reason and (forced := self._forced) and not self._has_logprobs:
            if self.state.guesses:
                break
            for token in forced:
                if reason := self.end_before(token, model):
                    break
                self.accept(token)
                added.append(token)
                if reason := self.end_after(model):
                    break
        self.settled = range(before, len(self.state.text) - 1)
        return added, reason

    def first_pick(self, pace: Pace) -> "Pick":
        """Its first chunk, by itself."""
        return self.pick_prompt(pace.chunk_rows(self.state.unsent))

    def pick_prompt(self, most: int) -> "Pick":
        """Up to ``most`` rows of its prompt."""
        rows = min(most, self.generation.options.chunk_size or most, self.state.unsent)
        return Pick(self, rows, prompt_rows=rows)

    def pick_certain(self, extra: int, most: int = 1) -> "Pick":
        """Up to ``most`` of the rows that wait, and up to ``extra`` guesses behind the last."""
        waiting = self.state.unsent
        if waiting > 1:
            most = min(most, self.generation.options.chunk_size or most)
            if waiting > most:
                return Pick(self, most)
        guessed = self._guess(extra)
        return Pick(self, waiting + guessed, guessed_rows=guessed)

    def pick_guesses(self, most: int) -> "Pick | None":
        """Guesses behind what is in flight, if it is worth making any."""
        guessed = self._guess(most)
        return Pick(self, guessed, guessed_rows=guessed) if guessed else None

    def take(self, rows: int) -> StepChunk:
        """Make the chunk of a pick."""
        chunk = self.state.take(rows)
        if pooling := self.generation.options.pooling:
            wanted = chunk.logit_rows if pooling is Pooling.LAST else len(chunk.ids)
            return replace(chunk, logit_rows=wanted, candidates=0, wants_states=True)
        if self._has_logprobs:
            chunk = replace(chunk, log_sum=True)
        if self._guide and chunk.logit_rows:
            last = chunk.start + rows - len(self.state.text)  # guesses before the last row's end
            first = last - chunk.logit_rows + 1
            chunk = replace(chunk, allowed=self._guide.allowed(first, chunk.logit_rows))
        return chunk

    def sent(self, step: int, now: float) -> None:
        """Its chunk is on its way."""
        self.state.in_flight.add(step)
        self.generation.measurement.begin_prefill(now)

    def accept(self, token: int) -> bool:
        """Take a sampled or forced id into the text; False if a guess was wrong."""
        was_guessed = bool(self.state.guesses)
        is_right = self.state.accept(token)
        self.seen.add(token)
        if self._counts:
            self.generated[token] += 1
        if self._guide:
            was_forced = self.is_forced
            if was_guessed and is_right:
                self._guide.accept_guess()
            else:
                self._guide.accept(token)
            if was_forced:
                self.generation.measurement.forced += 1
                was_guessed = False
        if self._drafter:
            self._drafter.add([token])
            if was_guessed:
                self._depth.count(is_right)
                self.generation.measurement.add_guess(is_right)
        return is_right

    def end_before(self, token: int, model: ServedModel) -> FinishReason | None:
        """Whether an id ends the text and is not part of it."""
        goes_on = self.generation.options.ignore_eos and not self._guide
        return FinishReason.EOS if token in model.eos_ids and not goes_on else None

    def end_after(self, model: ServedModel) -> FinishReason | None:
        """Whether the text is complete."""
        if self._guide and self._guide.is_finished:
            return FinishReason.EOS
        text_length = len(self.state.text)
        if text_length == self._prompt_length + self.generation.options.max_tokens:
            return FinishReason.LENGTH
        return FinishReason.CONTEXT if text_length == model.context else None

    def _guess(self, most: int) -> int:
        """Make sure of up to ``most`` unsent guesses; returns how many there are."""
        state = self.state
        if most <= 0 or not self.can_guess:
            return 0
        wanted = min(most - state.unsent_guesses, state.guess_room)
        if wanted > 0 and self._guide:
            state.guesses += self._followed(self._guide, wanted)
        elif wanted > 0:
            state.guesses += self._drafted(wanted, state.guesses)
        return min(most, state.unsent_guesses)

    def _followed(self, guide: Guide, most: int) -> Sequence[int]:
        """What the text that keeps to a constraint may go on with."""
        found: list[int] = []
        try:
            while len(found) < most:
                guesses = guide.forced_ahead or (guide.likely_ahead if self._drafter else ())
                is_drafted = not guesses
                if is_drafted:
                    guesses = self._drafted(most - len(found), [*self.state.guesses, *found])
                guesses = guesses[: most - len(found)]
                followed = guide.follow(guesses)
                found += guesses[:followed]
                if is_drafted or followed < len(guesses):
                    break
        except Exception as error:
            raise GuessFailed(self) from error
        return found

    def _drafted(self, most: int, guesses: Sequence[int]) -> Sequence[int]:
        """Up to ``most`` ids behind the ``guesses`` that there are."""
        if self._drafter is None:
            return []
        wanted = min(most, self._depth.allowed() - len(guesses))
        return self._drafter.guess(guesses, wanted) if wanted > 0 else []


@dataclass(slots=True)
class Pick:
    """Rows of one sequence for the next step."""

    running: Running
    rows: int
    prompt_rows: int = field(default=0)
    guessed_rows: int = field(default=0)


def next_picks(running: Sequence[Running], pace: Pace, in_flight: int) -> list[Pick]:
    """What the next step carries; nothing if none should be sent now."""
    picks = _pick_certain(running, pace)
    if in_flight >= pace.depth:
        return picks
    picks += _pick_prompts(running, pace, sum(pick.rows for pick in picks))
    return picks or _pick_guesses(running, pace)


def _pick_certain(running: Sequence[Running], pace: Pace) -> list[Pick]:
    """An even share of the rows that wait, so that there is a micro-batch for every stage."""
    ready = [one for one in running if one.is_ready]
    if not ready:
        return []
    decoding = sum(one.is_decoding for one in running)
    groups = pace.groups(decoding)
    free_groups = groups - _decoding_steps(running)
    if free_groups <= 0:
        return []
    share = min(-(-len(ready) // free_groups), -(-decoding // groups))
    chosen = ready[: min(share, pace.max_step_rows)]
    if sum(one.state.unsent for one in chosen) > len(chosen):
        return _pick_forced(chosen, pace, is_alone=decoding == 1)
    extra = 0
    if any(one.can_guess for one in chosen):
        extra = (pace.free_rows - len(chosen)) // len(chosen)
    return [one.pick_certain(extra) for one in chosen]


def _pick_forced(chosen: Sequence[Running], pace: Pace, *, is_alone: bool) -> list[Pick]:
    """A row of each, and of those that were forced to go on as much as one would of a prompt."""
    if is_alone:
        room = pace.chunk_rows(chosen[0].state.unsent) - 1
    else:
        room = min(pace.rows_beside(len(chosen)), pace.max_step_rows - len(chosen))
    picks: list[Pick] = []
    for one in chosen:
        picks.append(one.pick_certain(0, most=1 + room))
        room -= picks[-1].rows - 1
    return picks


def _decoding_steps(running: Sequence[Running]) -> int:
    """Steps in flight with a certain row of a text that grows."""
    return len({min(o.state.in_flight) for o in running if o.is_decoding and o.state.in_flight})


def _pick_prompts(running: Sequence[Running], pace: Pace, decoding_rows: int) -> list[Pick]:
    """Chunks of prompts up to the step's budget, each prompt in its turn."""
    waiting = [one for one in running if not one.is_decoding and one.state.unsent]
    if not waiting:
        return []
    waiting.sort(key=lambda one: len(one.state.in_flight))
    if any(one.is_decoding for one in running):
        budget = pace.rows_beside(max(1, decoding_rows))
    else:
        asked = waiting[0].generation.options.chunk_size
        suits = pace.chunk_rows(sum(one.state.unsent for one in waiting))
        budget = min(asked or suits, pace.max_step_rows)
    picks: list[Pick] = []
    for one in waiting:
        if budget <= 0:
            break
        picks.append(one.pick_prompt(budget))
        budget -= picks[-1].rows
    return picks


def _pick_guesses(running: Sequence[Running], pace: Pace) -> list[Pick]:
    """One sequence's guesses: of that which has the fewest of them under way."""
    idle = [o for o in running if o.can_guess and not o.state.unsent and o.state.in_flight]
    if not idle:
        return []
    idle.sort(key=lambda one: len(one.state.guesses))
    free_rows = pace.free_rows
    for one in idle:
        if pick := one.pick_guesses(free_rows):
            return [pick]
    return []
