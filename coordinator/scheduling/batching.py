"""What the next step carries: pure decisions over the texts that are running."""

from collections.abc import Sequence

from pi_cluster.coordinator.scheduling.pace import Pace
from pi_cluster.coordinator.scheduling.running import Pick, Running


def next_picks(
    running: Sequence[Running], pace: Pace, in_flight: int, *, may_guess: bool = True
) -> list[Pick]:
    """What the next step carries; nothing if none should be sent now.

    A step of guesses alone is none where it ``may_guess`` not.
    """
    picks = _pick_certain(running, pace)
    if in_flight >= pace.depth:
        return picks
    picks += _pick_prompts(running, pace, sum(pick.rows for pick in picks))
    return picks if picks or not may_guess else _pick_guesses(running, pace)


def may_be_guessed(running: Sequence[Running]) -> list[Running]:
    """Those that have sent all that is certain, and wait for it to come back."""
    return [o for o in running if o.can_guess and not o.state.unsent and o.state.in_flight]


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
    return [one.pick_certain(extra, pace.stakes_beside) for one in chosen]


def _pick_forced(chosen: Sequence[Running], pace: Pace, *, is_alone: bool) -> list[Pick]:
    """A row of each, and of those that were forced to go on as much as one would of a prompt."""
    if is_alone:
        room = pace.chunk_rows(chosen[0].state.unsent) - 1
    else:
        room = min(pace.rows_beside(len(chosen)), pace.max_step_rows - len(chosen))
    picks: list[Pick] = []
    for one in chosen:
        picks.append(one.pick_certain(0, pace.stakes_beside, most=1 + room))
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
        asked = waiting[0].generation.options.most_step_rows
        suits = pace.chunk_rows(sum(one.state.unsent for one in waiting))
        budget = min(asked or suits, pace.max_step_rows)
    picks: list[Pick] = []
    taken = 0
    for one in waiting:
        # What bounds a text's rows of a step bounds what stands before them there, too.
        most = min(budget, one.generation.options.most_step_rows or budget) - taken
        if most > 0:
            picks.append(one.pick_prompt(most))
            taken += picks[-1].rows
    return picks


def _pick_guesses(running: Sequence[Running], pace: Pace) -> list[Pick]:
    """One sequence's guesses: of that which has the fewest of them under way."""
    idle = may_be_guessed(running)
    if not idle:
        return []
    idle.sort(key=lambda one: len(one.state.guesses))
    free_rows, stakes = pace.free_rows, pace.stakes
    for one in idle:
        if pick := one.pick_guesses(free_rows, stakes):
            return [pick]
    return []
