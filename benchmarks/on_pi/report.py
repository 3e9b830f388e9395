"""What was measured so far: as a table in Markdown to post, and as JSON."""

import json
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.on_pi.boards import Board, Health, Way
from benchmarks.on_pi.figures import USERS, Decode, Prefill
from pi_cluster.cluster.version import VERSION

_UNKNOWN = "-"
_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Model:
    """What is up."""

    name: str
    layers: int
    formats: str
    """Of the layers' weights."""
    size_bytes: int
    """Of all weights."""
    token_bytes: int
    """Of those that are read for each token: all but the embedding."""


@dataclass(slots=True)
class Round:
    """The model on so many nodes, the first ones; None is what was not measured."""

    nodes: int
    layers: tuple[int, ...] = ()
    """Of each stage."""
    prefill: Prefill | None = None
    decodes: list[Decode] = field(default_factory=list)
    before: tuple[Health, ...] = ()
    after: tuple[Health, ...] = ()
    problem: str = ""
    """Why it was not measured, or not to its end."""
    is_failure: bool = False
    """Whether something went wrong, other than that the model does not fit."""

    def decode(self, users: int, drafts: bool) -> float | None:
        """The figure of this kind, if there is one."""
        kind = (users, drafts)
        found = (d.tokens_ps for d in self.decodes if (d.users, d.drafts) == kind)
        return next(found, None)


@dataclass(slots=True)
class Report:
    """Grows while it is measured."""

    began: str
    """Date and time."""
    is_quick: bool
    commit: str = ""
    boards: tuple[Board, ...] = ()
    ways: tuple[Way, ...] = ()
    model: Model | None = None
    rounds: list[Round] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    """What whoever reads the figures must know."""

    def to_json(self) -> str:
        """All of it, answers left out."""
        values: dict[str, Any] = asdict(self) | {"version": VERSION}
        for decode in (d for one in values["rounds"] for d in one["decodes"]):
            del decode["answers"]
        return json.dumps(values, indent=1) + "\n"

    def to_markdown(self) -> str:
        """Tables of the boards, the ways between them, and the figures."""
        parts = [self._heading(), _boards_table(self.boards)]
        parts += [_ways_table(self.ways)] if self.ways else []
        parts += [_rounds_table(self.rounds)] if self.rounds else []
        parts += ["\n".join(f"- {remark}" for remark in self.remarks)] if self.remarks else []
        return "\n\n".join(parts) + "\n"

    def _heading(self) -> str:
        of = f" ({self.commit})" if self.commit else ""
        lines = [f"pi-cluster {VERSION}{of}, {self.began}."]
        if self.is_quick:
            lines.append("A TRIAL with few tokens (`--quick`): no figures to post.")
        if model := self.model:
            lines.append(
                f"{model.name}: {model.layers} layers in {model.formats}, "
                f"{_size(model.size_bytes)}, of which {_size(model.token_bytes)} are "
                "read for each token."
            )
        return "\n".join(lines)


def commit_of_clone() -> str:
    """By which the clone that this runs from is known; empty where git cannot tell."""
    command = ["git", "-C", str(_ROOT), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _boards_table(boards: Sequence[Board]) -> str:
    """Boards that are alike share a line."""
    numbers: dict[Board, list[str]] = {}
    for number, board in enumerate(boards, start=1):
        numbers.setdefault(board, []).append(str(number))
    rows = (
        (
            ", ".join(those),
            board.model,
            _size(board.memory_bytes),
            f"{board.threads} x {board.kernels}",
            board.network or _UNKNOWN,
            board.system,
            board.version,
        )
        for board, those in numbers.items()
    )
    names = ("node", "board", "memory", "threads", "network", "system", "pi-cluster")
    return _table(names, rows)


def _ways_table(ways: Sequence[Way]) -> str:
    rows = (
        (f"{way.start} - {way.end}", f"{1000 * way.delay_s:.2f}", f"{way.bytes_ps / 1e6:.0f}")
        for way in ways
    )
    return _table(("between", "ms one way", "MB/s"), rows)


def _rounds_table(rounds: Sequence[Round]) -> str:
    names = ["nodes", "layers", "prefill, tokens/s"]
    for users in USERS:
        who = "1 user" if users == 1 else f"{users} users"
        names += [f"{who}, tokens/s", "with drafts"]
    return _table([*names, "hottest, °C", "firmware"], map(_cells, rounds))


def _cells(measured: Round) -> Iterator[str]:
    yield str(measured.nodes)
    yield " + ".join(map(str, measured.layers)) or _UNKNOWN
    if measured.problem and not measured.prefill:
        yield measured.problem
    else:
        prefill = measured.prefill
        yield f"{prefill.tokens_ps:.2f} (of {prefill.tokens})" if prefill else _UNKNOWN
    for users in USERS:
        for drafts in (False, True):
            rate = measured.decode(users, drafts)
            yield f"{rate:.2f}" if rate is not None else _UNKNOWN
    yield f"{_hottest(measured.before)} - {_hottest(measured.after)}"
    yield _complaints(measured.after or measured.before)


def _hottest(healths: Sequence[Health]) -> str:
    known = [health.temperature_c for health in healths if health.temperature_c is not None]
    return f"{max(known):.0f}" if known else "?"


def _complaints(healths: Sequence[Health]) -> str:
    """What the firmware of how many nodes complains of."""
    told = [health.complaints for health in healths if health.complaints is not None]
    if not told:
        return "does not tell"
    counted = Counter(what for complaints in told for what in complaints)
    slowed = [health.slowed_to for health in healths if health.slowed_to < 1]
    words = [f"{count} x {what}" for what, count in counted.items()]
    words += [f"clock down to {min(slowed):.0%}"] if slowed else []
    return "; ".join(words) or "fine"


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:.2f} GB" if size_bytes >= 1e9 else f"{size_bytes / 1e6:.1f} MB"


def _table(names: Sequence[str], rows: Iterator[tuple[str, ...] | Iterator[str]]) -> str:
    lines = [_line(names), _line(["---"] * len(names)), *map(_line, rows)]
    return "\n".join(lines)


def _line(cells: Sequence[str] | Iterator[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |"
