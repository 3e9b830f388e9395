"""What processes hold while requests are answered, and whether it grows."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from benchmarks.process_memory import Sampler, memory_of
from benchmarks.soak.questions import Tally

MOST_GROWTH_MIB = 8.0
_PERIOD_S = 0.05


@dataclass(frozen=True, slots=True)
class Watched:
    """A process whose memory is sampled."""

    name: str
    process_id: int
    cache_bytes: int = 0
    """Of one sequence; 0 where there are none."""
    most_cache_bytes: int = 0
    """Of all sequences."""


class MemoryWatch(Sampler):
    """Samples what processes hold while requests are answered, from ``with`` to its end."""

    def __init__(self, processes: Sequence[Watched], tally: Tally, every: int) -> None:
        """A sample is taken each ``every`` requests."""
        super().__init__(self._look, _PERIOD_S)
        self.samples: list[tuple[int, dict[str, float]]] = []
        """Requests answered so far, and MiB by process."""
        self.caches_within_limits = True
        self._processes = processes
        self._tally = tally
        self._every = max(1, every)
        self._due = 0

    def __exit__(self, *failure: object) -> None:
        self._due = 0  # the last sample is taken in any case
        super().__exit__(*failure)

    def _look(self) -> None:
        if self._tally.done < self._due:
            return
        self._due = self._tally.done + self._every
        mib = {}
        for one in self._processes:
            memory = memory_of(one.process_id, one.cache_bytes)
            mib[one.name] = memory.others_bytes / 2**20
            self.caches_within_limits &= memory.caches_bytes <= one.most_cache_bytes
        self.samples.append((self._tally.done, mib))


@dataclass(frozen=True, slots=True)
class Growth:
    """Memory of one process once it is warm, in MiB."""

    start: float
    end: float
    slope: float
    """A thousand requests, by least squares."""

    @classmethod
    def of(cls, done: Sequence[int], mib: Sequence[float]) -> Self:
        """From samples taken when so many requests were done; at least two.

        Start and end are medians of a tenth of the samples, since each is in the midst of steps.
        """
        few = max(1, len(mib) // 10)
        slope = 0.0
        if len(set(done)) > 1:
            slope = 1000 * statistics.linear_regression(done, mib).slope
        return cls(statistics.median(mib[:few]), statistics.median(mib[-few:]), slope)

    @property
    def is_flat(self) -> bool:
        """Whether it stayed within what is allowed."""
        return self.end - self.start <= MOST_GROWTH_MIB


def growths(samples: Sequence[tuple[int, Mapping[str, float]]], warm: int) -> dict[str, Growth]:
    """The growth of each process after ``warm`` requests."""
    kept = [(done, mib) for done, mib in samples if done >= warm]
    done = [number for number, _ in kept]
    return {name: Growth.of(done, [mib[name] for _, mib in kept]) for name in kept[-1][1]}
