"""The table: what must be reached, what was measured, and whether it was."""

from collections.abc import Callable
from dataclasses import dataclass
from operator import ge, le

from benchmarks.kernels.products import Times
from benchmarks.kernels.versus import EARLY, LATE, MANY_ROWS, PREFILL_ROWS, Pair


@dataclass(frozen=True, slots=True)
class Row:
    """One requirement. ``value`` is None where something it needs is not there."""

    key: str
    what: str
    holds: Callable[[float, float], bool]
    bound: float
    unit: str
    value: float | None
    note: str = ""

    @property
    def verdict(self) -> str:
        """Reached, missed, or why there is nothing to judge."""
        if self.value is None:
            return self.note
        return "reached" if self.holds(self.value, self.bound) else "MISSED"

    def text(self, number: float) -> str:
        """A number with what it counts."""
        return f"{number:.3g} {self.unit}" if abs(number) < 1000 else f"{number:.0f} {self.unit}"


def product_rows(times: Times, best: str) -> list[Row]:
    """The products with few rows, of variants that this machine has."""
    rows = [
        Row("share_of_read", f"q4 x 1 row : plain read, {best}", ge, 0.90, "", None),
        *(
            Row(f"four_to_one_{name}", f"4 rows : 1 row, time, {name}", le, bound, "", None)
            for name, bound in (("avx512", 1.2), ("avx2", 1.6))
        ),
    ]
    values = {"share_of_read": times["read", 1] / times[best, 1]}
    for name in ("avx512", "avx2"):
        if (name, 1) in times:
            values[f"four_to_one_{name}"] = times[name, 4] / times[name, 1]
    return [_with(row, values.get(row.key), "not measured: no such CPU") for row in rows]


def pair_rows(product: Pair, stage: dict[str, Pair], reason: str) -> list[Row]:
    """What is compared with the peer; ``reason`` is why it is not, if it is not."""
    wanted = (
        ("rows_256", f"{MANY_ROWS} rows x w1 : ggml's kernel", 2.3, product),
        ("decode_early", f"stage, decode at {EARLY} : llama.cpp", 1.4, stage["decode early"]),
        ("decode_late", f"stage, decode at {LATE} : llama.cpp", 1.3, stage["decode late"]),
        ("prefill", f"stage, prefill of {PREFILL_ROWS} : llama.cpp", 2.2, stage["prefill"]),
    )
    return [
        Row(key, what, ge, bound, "x", pair.ratio, in_words(pair) if pair.peer else reason)
        for key, what, bound, pair in wanted
    ]


def footprint_rows(load_s: float, memory_mib: float, peak_mib: float) -> list[Row]:
    """Memory and loading of a worker process over gRPC."""
    memory, loading = "memory of a worker beyond weights, caches", "loading 8 layers, worker, gRPC"
    peak = f"after a step of 512 rows; {peak_mib:.0f} MiB during it"
    return [
        Row("memory", memory, le, 64, "MiB", memory_mib, peak),
        Row("loading", loading, le, 0.3, "s", load_s, "from page cache, request to ready"),
    ]


def table(rows: list[Row]) -> str:
    """The rows as Markdown."""
    lines = ["| what | required | measured | | how |", "|---|---|---|---|---|"]
    for row in rows:
        sign = ">=" if row.holds is ge else "<="
        measured = "" if row.value is None else row.text(row.value).strip()
        required = f"{sign} {row.text(row.bound).strip()}"
        note = "" if row.value is None else row.note
        lines.append(f"| {row.what} | {required} | {measured} | {row.verdict} | {note} |")
    return "\n".join(lines)


def as_json(rows: list[Row]) -> dict[str, object]:
    """Value and verdict of each row by its key."""
    return {row.key: {"value": row.value, "verdict": row.verdict} for row in rows}


def _with(row: Row, value: float | None, reason: str) -> Row:
    note = "" if value is not None else reason
    return Row(row.key, row.what, row.holds, row.bound, row.unit, value, note)


def in_words(pair: Pair) -> str:
    """The times of both, and how the peer reached its own."""
    assert pair.peer is not None
    return f"{1e3 * pair.ours:.0f} ms, peer {1e3 * pair.peer:.0f} ms ({pair.way})"
