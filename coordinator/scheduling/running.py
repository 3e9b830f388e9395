"""A text that runs: what it takes along in a step, and how it grows and ends."""

import collections
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from pi_cluster.coordinator.drafting.judge import Drafting, Guess, Judge
from pi_cluster.coordinator.drafting.stakes import Stakes
from pi_cluster.coordinator.finish_reason import FinishReason
from pi_cluster.coordinator.generation import Generation
from pi_cluster.coordinator.pooling import Pooling
from pi_cluster.coordinator.scheduling.guide import Guide
from pi_cluster.coordinator.scheduling.pace import Pace
from pi_cluster.coordinator.scheduling.sequence import SequenceState
from pi_cluster.coordinator.served_model import ServedModel
from pi_cluster.coordinator.steps import StepChunk

_MOST_CANDIDATES = 1000
_GRAMMAR = "grammar"
"""Who guesses what a constraint leaves no choice for, or makes likely."""


class GuessFailed(Exception):
    """A constraint failed while a text was guessed; the cause is what it raised."""

    def __init__(self, running: "Running") -> None:
        super().__init__()
        self.running = running


class Running:
    """A request whose sequence has its place in the caches."""

    def __init__(
        self,
        generation: Generation,
        state: SequenceState,
        guide: Guide | None = None,
        drafting: Drafting | None = None,
    ) -> None:
        """``drafting`` guesses how it goes on, where that is worth trying."""
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
        self._guesses_by: list[str] = []  # whose guess each of the state's is
        self._judge: Judge | None = None
        # Many logits of every guess would cost more to send than a guess is worth.
        few = 0 < state.candidates <= _MOST_CANDIDATES
        options = generation.options
        if drafting and options.draft and few and not options.only_reads:
            self._judge = drafting.judge(state.text, options.sampling)

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
        return self._judge is not None or (self._guide is not None and self._has_logprobs)

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
        rows = min(most, self.generation.options.most_step_rows or most, self.state.unsent)
        return Pick(self, rows, prompt_rows=rows)

    def pick_certain(self, extra: int, stakes: Stakes, most: int = 1) -> "Pick":
        """Up to ``most`` of the rows that wait, and up to ``extra`` guesses behind the last."""
        waiting = self.state.unsent
        if waiting > 1:
            most = min(most, self.generation.options.most_step_rows or most)
            if waiting > most:
                return Pick(self, most)
        guessed = self._guess(extra, stakes)
        return Pick(self, waiting + guessed, guessed_rows=guessed)

    def pick_guesses(self, most: int, stakes: Stakes) -> "Pick | None":
        """Guesses behind what is in flight, if it is worth making any."""
        guessed = self._guess(most, stakes)
        return Pick(self, guessed, guessed_rows=guessed) if guessed else None

    def take(self, rows: int) -> StepChunk:
        """Make the chunk of a pick."""
        chunk = self.state.take(rows)
        if pooling := self.generation.options.pooling:
            wanted = chunk.logit_rows if pooling is Pooling.LAST else len(chunk.ids)
            return replace(chunk, logit_rows=wanted, candidates=0, wants_states=True)
        if scoring := self.generation.options.scoring:
            return scoring.asked_of(chunk, len(self.state.text))
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
        guessed_by = self._guesses_by[0] if self.state.guesses else None
        is_right = self.state.accept(token)
        self._guesses_by = self._guesses_by[1:] if guessed_by and is_right else []
        self.seen.add(token)
        if self._counts:
            self.generated[token] += 1
        was_forced = self.is_forced
        if self._guide:
            if guessed_by and is_right:
                self._guide.accept_guess()
            else:
                self._guide.accept(token)
            self.generation.measurement.forced += was_forced
        if guessed_by and self._judge and not was_forced:
            self.generation.measurement.add_guess(guessed_by, is_right)
        if self._judge:
            self._judge.add(token, is_sampled=not was_forced)
        return is_right

    def close(self) -> None:
        """It has ended."""
        if self._judge:
            self._judge.close()

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

    def _guess(self, most: int, stakes: Stakes) -> int:
        """Make sure of up to ``most`` unsent guesses; returns how many there are."""
        state = self.state
        if most <= 0 or not self.can_guess:
            return 0
        wanted = min(most - state.unsent_guesses, state.guess_room)
        if wanted > 0:
            before = list(map(Guess, state.guesses, self._guesses_by))
            if self._guide:
                guesses = self._followed(self._guide, before, wanted, stakes)
            else:
                guesses = self._drafted(before, wanted, stakes)
            state.guesses += [guess.token for guess in guesses]
            self._guesses_by += [guess.by for guess in guesses]
        return min(most, state.unsent_guesses)

    def _followed(
        self, guide: Guide, before: Sequence[Guess], most: int, stakes: Stakes
    ) -> list[Guess]:
        """What the text that keeps to a constraint may go on with."""
        found: list[Guess] = []
        try:
            while len(found) < most:
                ids = guide.forced_ahead or (guide.likely_ahead if self._judge else ())
                guesses = [Guess(token, _GRAMMAR) for token in ids[: most - len(found)]]
                is_drafted = not guesses
                if is_drafted:
                    guesses = self._drafted([*before, *found], most - len(found), stakes)
                followed = guide.follow([guess.token for guess in guesses])
                found += guesses[:followed]
                if is_drafted or followed < len(guesses):
                    break
        except Exception as error:
            raise GuessFailed(self) from error
        return found

    def _drafted(self, before: Sequence[Guess], most: int, stakes: Stakes) -> list[Guess]:
        """Up to ``most`` guesses behind those ``before``."""
        return self._judge.guess(before, most, stakes) if self._judge else []


@dataclass(slots=True)
class Pick:
    """Rows of one sequence for the next step."""

    running: Running
    rows: int
    prompt_rows: int = field(default=0)
    guessed_rows: int = field(default=0)
