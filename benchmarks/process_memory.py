"""What a process holds beyond mapped files."""

import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_MAPPING = re.compile(r"[0-9a-f]+-[0-9a-f]+ ")
_SHARED_ANONYMOUS = "/dev/zero"  # what Linux calls Python's anonymous mappings
_SAMPLE_S = 0.02


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident bytes that are no file's."""

    caches_bytes: int
    others_bytes: int


def memory_of(process_id: int, cache_bytes: int) -> Memory:
    """What a process holds now; its anonymous mappings of ``cache_bytes`` are caches."""
    caches_kib = others_kib = 0
    for header, fields in _mappings(Path(f"/proc/{process_id}/smaps").read_text()):
        if _SHARED_ANONYMOUS not in header:
            others_kib += fields["Anonymous"]
        elif fields["Size"] == cache_bytes // 1024:
            caches_kib += fields["Rss"]
        else:
            others_kib += fields["Rss"]
    return Memory(1024 * caches_kib, 1024 * others_kib)


class Sampler:
    """Does something again and again beside the work of a ``with``, and once more at its end."""

    def __init__(self, sample: Callable[[], None], period_s: float) -> None:
        self._sample = sample
        self._period_s = period_s
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._ended.set()
        self._thread.join()
        self._sample()

    def _watch(self) -> None:
        while not self._ended.wait(self._period_s):
            self._sample()


class PeakMemory(Sampler):
    """The most that a process holds beside caches, from ``with`` to its end."""

    def __init__(self, process_id: int, cache_bytes: int) -> None:
        super().__init__(self._look, _SAMPLE_S)
        self.bytes = 0
        self._process_id = process_id
        self._cache_bytes = cache_bytes

    def _look(self) -> None:
        now = memory_of(self._process_id, self._cache_bytes)
        self.bytes = max(self.bytes, now.others_bytes)


def _mappings(smaps: str) -> Iterator[tuple[str, dict[str, int]]]:
    """Each mapping's header line, and its fields in KiB."""
    header, fields = "", dict[str, int]()
    for line in smaps.splitlines():
        if _MAPPING.match(line):
            if header:
                yield header, fields
            header, fields = line, {}
        elif line.endswith(" kB"):
            name, _, value = line.partition(":")
            fields[name] = int(value.split()[0])
    if header:
        yield header, fields
