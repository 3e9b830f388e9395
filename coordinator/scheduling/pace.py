"""How long steps take, learnt from what the stages report, and what follows for their size."""

import bisect

from pi_cluster.coordinator.drafting.stakes import Stakes
from pi_cluster.coordinator.steps import StepResult

_SIZES = (16, 32, 64, 128, 256, 512)
_BASE_ROWS = 3  # reading the weights costs what this many rows do, before anything is measured
_WEIGHT = 0.3  # of the newest measurement
_NEARLY = 1.2  # times a single row's step: more rows for nearly nothing
_STUTTER = 2.0  # times a step without prefill: what prefill beside decode may make of it
_FEWEST_BESIDE = 8
_RETHINK = 8  # steps after which sizes that were found best are looked at again
_MOST_GROUPS = 3  # for each stage, however slow the links are


class Pace:
    """Times of the slowest stage by rows, and of the links.

    Between sizes that were measured it interpolates; beyond them it takes the shape
    ``rows + _BASE_ROWS``: a stage reads its weights, then works row by row.
    """

    def __init__(self, stages: int, max_step_rows: int) -> None:
        self._stages = stages
        self.max_step_rows = max_step_rows
        self._times: dict[int, tuple[float, float]] = {}  # by size class: mean rows and seconds
        self._known: list[tuple[float, float]] = []  # the same by rising rows
        self._links_s: float | None = None
        self._added = 0
        self._groups: dict[int, int] = {}

    def add(self, rows: int, result: StepResult, round_trip_s: float) -> None:
        """A step came back ``round_trip_s`` after it was sent."""
        time_s = max(stage.compute_s for stage in result.stages)
        old_rows, old_s = self._times.get(_size_class(rows), (None, None))
        self._times[_size_class(rows)] = _blend(old_rows, rows), _blend(old_s, time_s)
        self._known = sorted(self._times.values())
        at_stages = sum(stage.compute_s + stage.queued_s for stage in result.stages)
        self._links_s = _blend(self._links_s, max(0.0, round_trip_s - at_stages))
        self._added += 1
        if self._added % _RETHINK == 0 or self._added == 1:
            self._groups.clear()

    def step_s(self, rows: int) -> float:
        """Expected time of the slowest stage for a step; in units of its own before the first."""
        known = self._known
        if not known:
            return rows + _BASE_ROWS
        after = bisect.bisect_left(known, (rows, 0.0))
        if after in (0, len(known)):
            near_rows, near_s = known[min(after, len(known) - 1)]
            return near_s * (rows + _BASE_ROWS) / (near_rows + _BASE_ROWS)
        (low, low_s), (high, high_s) = known[after - 1], known[after]
        return low_s + (high_s - low_s) * (rows - low) / (high - low)

    def expected_s(self, rows: int) -> float:
        """As `step_s`, in seconds from the beginning: 0 while nothing is known."""
        return self.step_s(rows) if self._known else 0.0

    def groups(self, rows: int) -> int:
        """Micro-batches, no fewer than stages, in which ``rows`` texts grow fastest."""
        if rows not in self._groups:
            self._groups[rows] = self._fastest_groups(rows)
        return self._groups[rows]

    @property
    def depth(self) -> int:
        """Steps in flight at which no stage waits for the coordinator."""
        over_links = round(self._links_s / self.step_s(1)) if self._links_s else 0
        return self._stages + 1 + min(over_links, (_MOST_GROUPS - 1) * self._stages)

    @property
    def free_rows(self) -> int:
        """Rows that a step takes for nearly the price of one."""
        return self._most_rows(_NEARLY * self.step_s(1), 1)

    @property
    def stakes(self) -> Stakes:
        """Of guesses in a step of their own, which a stage would wait instead of computing.

        A right one is known a step later than the id before it, and not a round later. Behind a
        wrong one the next certain id waits until the first stage has done with it.
        """
        step_s = self.step_s(1)
        return Stakes(self._round_s - step_s, step_s / 2, step_s)

    @property
    def stakes_beside(self) -> Stakes:
        """Of guesses in the step of a certain id: a right one saves a whole round."""
        step_s, rows = self.step_s(1), self.free_rows
        each_s = (self.step_s(rows) - step_s) / (rows - 1) if rows > 1 else step_s
        return Stakes(self._round_s, self._stages * each_s, step_s)

    @property
    def _round_s(self) -> float:
        """A step's way through all stages and links."""
        return self._stages * self.step_s(1) + (self._links_s or 0.0)

    def chunk_rows(self, remaining: int) -> int:
        """Size of chunks with which the rest of a prompt is soonest through all stages."""

        def total_s(size: int) -> float:
            return (-(-remaining // size) + self._stages - 1) * self.step_s(min(size, remaining))

        sizes = [size for size in _SIZES if size <= self.max_step_rows]
        return min(sizes or [self.max_step_rows], key=total_s)

    def rows_beside(self, decoding: int) -> int:
        """Rows of prefill that a step may carry beside rows of decode, so that no text stutters."""
        limit = _STUTTER * self.step_s(decoding)
        most = max(_FEWEST_BESIDE, self._most_rows(limit, decoding) - decoding)
        return min(most, self.max_step_rows - decoding)

    def _fastest_groups(self, rows: int) -> int:
        """A micro-batch comes round when all of them have passed one stage, and no sooner than it
        has itself passed all stages and links.
        """
        links_s = self._links_s or 0.0

        def rows_ps(count: int) -> float:
            sizes = {rows // count: count - rows % count, rows // count + 1: rows % count}
            at_one_stage = sum(many * self.step_s(size) for size, many in sizes.items() if size)
            return sum(
                many * size / max(at_one_stage, self._stages * self.step_s(size) + links_s)
                for size, many in sizes.items()
                if size
            )

        most = max(self._stages, min(rows, _MOST_GROUPS * self._stages))
        return max(range(self._stages, most + 1), key=rows_ps)

    def _most_rows(self, limit_s: float, least: int) -> int:
        """The largest number of rows whose step stays within a time."""
        low, high = least, self.max_step_rows
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.step_s(middle) <= limit_s else (low, middle - 1)
        return low


def _size_class(rows: int) -> int:
    """Few rows each have their own; more share one with their neighbours."""
    return rows if rows <= 8 else 8 * rows.bit_length()


def _blend(old: float | None, new: float) -> float:
    return new if old is None else (1 - _WEIGHT) * old + _WEIGHT * new
