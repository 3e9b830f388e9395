"""A draft model as people see it, and as programs read it."""

from collections.abc import Mapping
from typing import Any

from pi_cluster.coordinator.planning.draft_placing import expect
from pi_cluster.coordinator.planning.prediction import Prediction
from pi_cluster.coordinator.records.recorded_draft import GUESSES_BY, RecordedDraft
from pi_cluster.deploy.screen import output

GuessesBy = Mapping[str, tuple[int, int]]
"""By who made them: the right ones, and all that were decided."""


def draft_line(draft: RecordedDraft, guesses: GuessesBy) -> str:
    """Which one it is, where it is, and how often it was right, where anybody has counted that."""
    size = output.size(draft.placed.memory_bytes)
    counted = guesses.get(GUESSES_BY)
    share = f"; {share_right(*counted)}" if counted else ""
    return f"drafts by {draft.model} on this machine, {size}{share}"


def share_right(right: int, decided: int) -> str:
    """For people."""
    return f"{100 * right / decided:.0f} % of {decided} guesses right"


def expected_of_drafts(draft: RecordedDraft, prediction: Prediction) -> str:
    """What they should bring one user, and what that takes for granted."""
    token_s, expected = draft.placed.token_s, expect(prediction, draft.placed.token_s)
    about = f"{draft_line(draft, {})}, {1000 * token_s:.2f} ms each"
    if expected.pays:
        return (
            f"{about}: {expected.decode_tps:.2f} tokens/s for one user instead of "
            f"{expected.without_tps:.2f}, assumed that {100 * expected.right:.0f} % are right"
        )
    return (
        f"{about}: no faster by this reckoning, as a token passes all stages in "
        f"{1000 / expected.without_tps:.2f} ms. Guesses that do not pay are left off by "
        "themselves; a smaller model, or a faster machine to ask from, would help"
    )


def draft_json(draft: RecordedDraft | None, prediction: Prediction) -> dict[str, Any] | None:
    """The same for programs; None without a draft model."""
    if draft is None:
        return None
    expected = expect(prediction, draft.placed.token_s)
    return {
        "model": draft.model,
        "token_s": draft.placed.token_s,
        "memory_bytes": draft.placed.memory_bytes,
        "assumed_right": expected.right,
        "decode_tps": expected.decode_tps,
    }
