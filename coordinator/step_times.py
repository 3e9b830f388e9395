"""How long a stage may take for a step: by what was predicted of it, and by its steps so far."""

import threading
from collections.abc import Sequence

_FORGOTTEN = 0.05  # of what the slowest step took, with each further one: heat comes and goes


class StepTimes:
    """What is known of the stages of one pipeline, from any thread.

    A step of ``n`` rows takes no longer than ``n`` steps of one row, nor than the chunks of a
    prompt that ``n`` rows make. What steps of about as many rows took lately counts if it is more:
    attention grows with the text, and predictions leave it out.
    """

    def __init__(
        self,
        row_s: Sequence[float] = (),
        prefill_tps: float = 0.0,
        chunk_rows: int = 1,
    ) -> None:
        """``row_s`` is what each stage takes for one row; nothing is expected where it lacks one.

        ``prefill_tps`` is how many rows a second pass all stages in chunks of ``chunk_rows``.
        """
        self._row_s = tuple(row_s)
        self._chunk_rows = chunk_rows
        self._chunk_s = chunk_rows / prefill_tps if prefill_tps > 0 else 0.0
        self._lock = threading.Lock()
        self._took: dict[tuple[int, int], float] = {}  # by stage and size

    def note(self, rows: int, stages_s: Sequence[float]) -> None:
        """A step of so many rows has come back; it took each stage so many seconds."""
        with self._lock:
            for stage, seconds in enumerate(stages_s):
                key = (stage, _size(rows))
                before = self._took.get(key, 0.0) * (1 - _FORGOTTEN)
                self._took[key] = max(before, seconds)

    def expected_s(self, stage: int, rows: int) -> float | None:
        """What a step should take a stage at most; None where nothing is known."""
        with self._lock:
            took_s = self._took.get((stage, _size(rows)))
        known = [one for one in (self._predicted_s(stage, rows), took_s) if one is not None]
        return max(known, default=None)

    def _predicted_s(self, stage: int, rows: int) -> float | None:
        if stage >= len(self._row_s):
            return None
        one_by_one_s = rows * self._row_s[stage]
        if not self._chunk_s:
            return one_by_one_s
        return min(one_by_one_s, -(-rows // self._chunk_rows) * self._chunk_s)


def _size(rows: int) -> int:
    """The same for 1, for 2 and 3, for 4 to 7 rows, and so on."""
    return rows.bit_length()
