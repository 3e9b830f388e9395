"""A picture of one run: who worked when, as SVG that needs nothing but a browser.

A row for each node with a box for each step it computed, coloured by what the step carried; above
them the steps in flight. Steps that were given up on the way do not come back, and are not shown.
It follows the reader's choice of dark or light.
"""

import html
import math
from collections.abc import Iterator, Sequence

from pi_cluster.cluster.shown import shown_line
from pi_cluster.coordinator.bench.bench import BenchRun
from pi_cluster.coordinator.bench.timeline import AlignedStep, Span, align, lanes
from pi_cluster.coordinator.scheduling.sent_steps import StepRecord
from pi_cluster.coordinator.stage_address import StageAddress

_MOST_STEPS = 120  # more would be too narrow to tell apart
_MOST_BOXES = 1_000  # about 120 KB
_WIDTH, _LEFT, _RIGHT, _TOP = 960, 150, 16, 66
_BOX, _ROW, _LANE = 24, 34, 4  # heights; a row is a box and the space below it
_THINNEST = 5.0  # of a colour within a box
_MOST_TICKS = 10
_NAME_CHARACTERS = 18
_KINDS = ("prefill", "decode", "guesses")
_LEGEND = 90  # wide, an entry
_STYLE = """
text{font:12px system-ui,sans-serif;fill:#1f2328}
.title{font-weight:600;font-size:14px}.small{font-size:11px;fill:#59636e}.end{text-anchor:end}
.mid{text-anchor:middle}.page{fill:#fff}.row{fill:#f0f2f5}.tick{stroke:#d1d9e0}
.prefill{fill:#0072b2}.decode{fill:#009e73}.guesses{fill:#e69f00}.flight{fill:#8c959f}
@media(prefers-color-scheme:dark){
text{fill:#e6edf3}.small{fill:#9198a1}.page{fill:#0d1117}.row{fill:#1a2029}.tick{stroke:#3d444d}
.prefill{fill:#58a6e6}.decode{fill:#2fbf94}.guesses{fill:#f0b429}.flight{fill:#6e7681}}
"""


def gantt(run: BenchRun, stages: Sequence[StageAddress]) -> str:
    """The SVG of a run, or of its last steps where there are many."""
    aligned = align(run.steps)
    most = max(1, min(_MOST_STEPS, _MOST_BOXES // (len(stages) + 1)))
    shown = aligned[-most:]
    if not shown:
        return _document("\n".join(_heading(run, "no step came back")), _TOP)
    chart = _Chart(shown, stages)
    what = f"the last {len(shown)} of {len(aligned)}" if len(shown) < len(aligned) else "all"
    caption = f"{what} steps, {1000 * chart.length_s:.1f} ms"
    parts = [*_heading(run, caption), *chart.parts()]
    return _document("\n".join(parts), chart.height)


class _Chart:
    """Where things lie: time runs to the right, nodes follow each other downwards."""

    def __init__(self, steps: Sequence[AlignedStep], stages: Sequence[StageAddress]) -> None:
        self._steps = steps
        self._stages = stages
        self._lanes = lanes([step.in_flight for step in steps])
        self._zero_s = min(step.in_flight.began_s for step in steps)
        self.length_s = max(step.in_flight.ended_s for step in steps) - self._zero_s
        self._first_row = _TOP + _LANE * (max(self._lanes) + 1) + _ROW - _BOX
        self._bottom = self._first_row + _ROW * len(stages)
        self.height = self._bottom + 30

    def parts(self) -> Iterator[str]:
        """Everything below the heading."""
        yield from self._axis()
        yield _text(_LEFT - 10, _TOP + 10, "in flight", "end")
        for step, lane in zip(self._steps, self._lanes, strict=True):
            yield self._box(step.in_flight, _TOP + lane * _LANE, _LANE - 1, "flight")
        for index, stage in enumerate(self._stages):
            yield from self._row(index, stage)

    def _axis(self) -> Iterator[str]:
        every_ms = _tick_ms(1000 * self.length_s)
        for number in range(math.floor(1000 * self.length_s / every_ms) + 1):
            x = self._x(self._zero_s + number * every_ms / 1000)
            line = f'x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP - 4}" y2="{self._bottom}"'
            yield f'<line class="tick" {line}/>'
            yield _text(x, self._bottom + 16, f"{number * every_ms:g}", "small mid")
        yield _text(_LEFT - 10, self._bottom + 16, "ms", "small end")

    def _row(self, index: int, stage: StageAddress) -> Iterator[str]:
        y = self._first_row + index * _ROW
        spans = [step.stages[index] for step in self._steps]
        busy = sum(span.ended_s - span.began_s for span in spans) / self.length_s
        yield _text(_LEFT - 10, y + 10, _short(stage.name), "end")
        yield _text(_LEFT - 10, y + 23, f"{stage.layers}, {100 * busy:.0f} % busy", "small end")
        yield self._box(Span(self._zero_s, self._zero_s + self.length_s), y, _BOX, "row")
        for step, span in zip(self._steps, spans, strict=True):
            top = float(y)
            for kind, height in _colours(step.record):
                yield self._box(span, top, height, kind)
                top += height

    def _box(self, span: Span, y: float, height: float, kind: str) -> str:
        x = self._x(span.began_s)
        # A gap's width is left between neighbours, and something of every step can be seen.
        width = max(0.4, self._x(span.ended_s) - x - 0.3)
        place = f'x="{x:.1f}" y="{y:g}" width="{width:.1f}" height="{height:g}"'
        return f'<rect class="{kind}" {place}/>'

    def _x(self, time_s: float) -> float:
        wide = _WIDTH - _LEFT - _RIGHT
        return _LEFT + wide * (time_s - self._zero_s) / self.length_s


def _colours(step: StepRecord) -> list[tuple[str, float]]:
    """Heights in a box: by the shares of rows, but never too thin to be seen."""
    certain = step.rows - step.prompt_rows - step.guessed_rows
    rows = {"prefill": step.prompt_rows, "decode": certain, "guesses": step.guessed_rows}
    kinds = [(kind, count) for kind, count in rows.items() if count]
    free = _BOX - _THINNEST * len(kinds)
    return [(kind, round(_THINNEST + free * count / step.rows, 1)) for kind, count in kinds]


def _heading(run: BenchRun, caption: str) -> Iterator[str]:
    users = f"{run.test.users} user{'' if run.test.users == 1 else 's'}"
    yield _text(16, 24, f"{run.test.name}, {users}", "title")
    yield _text(16, 42, caption, "small")
    x = _WIDTH - _RIGHT - _LEGEND * len(_KINDS)
    for kind in _KINDS:
        yield f'<rect class="{kind}" x="{x}" y="14" width="12" height="12"/>'
        yield _text(x + 18, 24, kind, "")
        x += _LEGEND


def _document(body: str, height: float) -> str:
    size = f'viewBox="0 0 {_WIDTH} {height:g}" width="{_WIDTH}" height="{height:g}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">\n'
        f"<title>Which node worked when</title>\n<style>{_STYLE}</style>\n"
        f'<rect class="page" width="100%" height="100%" rx="6"/>\n{body}\n</svg>\n'
    )


def _text(x: float, y: float, text: str, kind: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:g}">{html.escape(text)}</text>'


def _short(name: str) -> str:
    """A name that fits beside its row, without what XML cannot hold."""
    shown = shown_line(name)
    return shown if len(shown) <= _NAME_CHARACTERS else shown[: _NAME_CHARACTERS - 1] + "…"


def _tick_ms(length_ms: float) -> float:
    """The least of 1, 2 and 5 times a power of ten that makes few enough ticks."""
    power = 10.0 ** math.floor(math.log10(length_ms / _MOST_TICKS))
    return next(power * n for n in (1, 2, 5, 10) if length_ms / (power * n) <= _MOST_TICKS)
