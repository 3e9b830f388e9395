"""How texts grow: by what is sampled from a step that came back, and by what is forced."""

from collections.abc import Sequence

from pi_cluster.cluster.errors import NodeError
from pi_cluster.coordinator.finish_reason import FinishReason
from pi_cluster.coordinator.logprobs import token_logprobs
from pi_cluster.coordinator.scheduling.running import Running
from pi_cluster.coordinator.scheduling.texts import Texts
from pi_cluster.coordinator.served_model import ServedModel
from pi_cluster.coordinator.session import Session
from pi_cluster.coordinator.steps import RowLogits, RowState, StepChunk
from pi_cluster.transformer.sampling import sample


class Growing:
    """Extends texts, and finishes those that are complete. Used by the scheduler's thread alone.

    What the last stage may not have answered raises ``NodeError``.
    """

    def __init__(self, session: Session, model: ServedModel, texts: Texts) -> None:
        self._session = session
        self._model = model
        self._texts = texts
        self._last = session.stages[-1].name

    def begin(self, running: Running) -> None:
        """Extend a text by the opening that its constraint forces, if it has one."""
        if running.generation.constraint and (reason := running.begin(self._model)):
            self._give_opening(running)
            self._texts.finish(running, reason)

    def extend(self, running: Running, chunk: StepChunk, rows: Sequence[RowLogits]) -> None:
        """Sample from a chunk's rows, one after the other, up to the first wrong guess."""
        state = running.state
        if len(rows) != chunk.logit_rows:
            raise NodeError(f"{self._last} answered with {len(rows)} rows of {chunk.logit_rows}")
        if rows and running.opening:
            self._give_opening(running)
        for row in rows:
            if row.position in running.settled:
                continue
            if row.position != len(state.text) - 1:
                raise NodeError(f"{self._last} answered for position {row.position} out of turn")
            if not self._extend_by(running, row):
                return
        state.confirmed = chunk.start + len(chunk.ids)

    def pool(self, running: Running, chunk: StepChunk, states: Sequence[RowState]) -> None:
        """Take the states of a chunk, and finish the text with the last of them."""
        pooled = running.generation.pooled
        assert pooled, "states are asked for where they are pooled"
        self._check_complete(chunk, [state.position for state in states], "states")
        for state in states:
            if len(state.values) != self._model.dim:
                raise NodeError(
                    f"{self._last} answered with a state of {len(state.values)} numbers"
                )
            pooled.add(state.values)
        self._go_on_reading(running, chunk)

    def score(self, running: Running, chunk: StepChunk, rows: Sequence[RowLogits]) -> None:
        """Take how likely the ids behind a chunk's rows are, and finish the text with the last."""
        scored = running.generation.scored
        assert scored, "this is asked for where it is scored"
        self._check_complete(chunk, [row.position for row in rows], "rows")
        scored.add(rows, self._last)
        self._go_on_reading(running, chunk)

    def _check_complete(self, chunk: StepChunk, positions: Sequence[int], what: str) -> None:
        """All that was asked of a chunk is there, in order."""
        count, stop = len(positions), chunk.start + len(chunk.ids)
        if count != chunk.logit_rows:
            raise NodeError(f"{self._last} answered with {count} {what} of {chunk.logit_rows}")
        for wanted, position in zip(range(stop - count, stop), positions, strict=True):
            if position != wanted:
                raise NodeError(f"{self._last} answered for position {position} out of turn")

    def _go_on_reading(self, running: Running, chunk: StepChunk) -> None:
        """A chunk is read of a text that is not to grow; with the last one the text is done."""
        running.state.confirmed = stop = chunk.start + len(chunk.ids)
        if stop == len(running.state.text):
            running.generation.measurement.add_token()
            self._texts.finish(running, FinishReason.LENGTH)

    def _extend_by(self, running: Running, row: RowLogits) -> bool:
        """Sample from one row; whether the next row may be of the same text still."""
        state, generation = running.state, running.generation
        options = generation.options
        token = sample(
            *(row.candidates, options.sampling, row.position + 1),
            *(running.seen, running.generated),
        )
        state.confirmed = row.position + 1
        generation.measurement.add_token()
        if reason := running.end_before(token, self._model):
            self._texts.finish(running, reason)
            return False
        was_right = running.accept(token)
        if options.logprobs is not None:
            generation.logprobs.append(token_logprobs(row, token, options.logprobs))
        self._texts.give(running, [token])
        if reason := running.end_after(self._model):
            self._texts.finish(running, reason)
            return False
        if not was_right:
            self._session.supersede(state.number)
            state.in_flight.clear()
        if running.is_forced and not self._go_on_forced(running):
            return False
        return was_right

    def _go_on_forced(self, running: Running) -> bool:
        """Extend a text by what follows for certain; whether it has not ended with that."""
        added, reason = running.add_forced(self._model)
        self._give_forced(running, added)
        if reason:
            self._texts.finish(running, reason)
        return reason is None

    def _give_opening(self, running: Running) -> None:
        opening, running.opening = running.opening, []
        self._give_forced(running, opening)

    def _give_forced(self, running: Running, ids: Sequence[int]) -> None:
        for _ in ids:
            running.generation.measurement.add_token()
        self._texts.give(running, ids)
