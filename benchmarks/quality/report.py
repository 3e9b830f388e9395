"""The table of one model, what it was to reach, and the same for programs."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.quality.subjects import Subject
from pi_cluster.coordinator.evaluating.figures import Distance, Quality

_MOST_OF_Q4 = 0.6
MIXTURE, PEER_MIXTURE = "q4m, weighted", "llama.cpp's Q4_K_M, weighted"


@dataclass(frozen=True, slots=True)
class Row:
    """One way to keep the weights; without a quality, why there is none."""

    name: str
    bits: float | None = None
    """A weight, of the layers' matrices."""
    store_bytes: int | None = None
    """Of the whole store, with embedding and head in their usual format."""
    quality: Quality | None = None
    reason: str = ""

    @property
    def against(self) -> Distance:
        """How far it is from the reference."""
        assert self.quality and self.quality.against, self.name
        return self.quality.against

    def __str__(self) -> str:
        if self.quality is None:
            return f"| {self.name} | | | not measured: {self.reason} | | |"
        bits = "" if self.bits is None else f"{self.bits:.3f}"
        store = "" if self.store_bytes is None else f"{self.store_bytes / 1e6:.1f} MB"
        divergence, same = self.against.divergence, self.against.same_top
        ratio = self.against.perplexity_ratio
        return (
            f"| {self.name} | {bits} | {store} "
            f"| {divergence.value:.4f} ± {divergence.standard_error:.4f} "
            f"| {ratio.value:.4f} ± {ratio.standard_error:.4f} "
            f"| {100 * same.value:.1f} ± {100 * same.standard_error:.1f} % |"
        )


def heading(subject: Subject) -> str:
    """What stands above the rows."""
    tokens = sum(len(passage.scored) for passage in subject.passages)
    lines = [f"## {subject.name}: {tokens} tokens of {len(subject.passages)} passages"]
    if subject.change:
        assert subject.change.against
        lines.append(
            f"\nof the model as it came: {subject.change.against.divergence.value:.1e} nats on the "
            "first passage"
        )
    lines += [
        "\n| weights of the layers | bits a weight | store | KL divergence, nats "
        "| perplexity : reference's | same likeliest token |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    return "\n".join(lines)


def goals(rows: Sequence[Row]) -> list[str]:
    """Whether each was reached, as far as its rows were measured."""
    measured = {row.name: row for row in rows if row.quality}
    found = []
    if {"q4", "q4n"} <= measured.keys():
        ratio = _divergence(measured["q4n"]) / _divergence(measured["q4"])
        reached = _word(ratio <= _MOST_OF_Q4)
        found.append(f"q4n's divergence : q4's <= {_MOST_OF_Q4}: {ratio:.3f}, {reached}")
    if {MIXTURE, PEER_MIXTURE} <= measured.keys():
        ours, theirs = measured[MIXTURE], measured[PEER_MIXTURE]
        ratio = _divergence(ours) / _divergence(theirs)
        assert ours.bits and theirs.bits
        reached = _word(ratio <= 1 and ours.bits <= theirs.bits)
        found.append(
            f"{MIXTURE}: divergence : Q4_K_M's, weighted, <= 1 at no more bits: {ratio:.3f} at "
            f"{ours.bits:.3f} and {theirs.bits:.3f} bits, {reached}"
        )
    return found or ["no aim could be judged: its rows were not measured"]


def as_json(subject: Subject, rows: Sequence[Row]) -> dict[str, Any]:
    """All figures of one model."""
    return {
        "model": subject.name,
        "change": asdict(subject.change) if subject.change else None,
        "rows": [asdict(row) for row in rows],
        "goals": goals(rows),
    }


def _divergence(row: Row) -> float:
    return row.against.divergence.value


def _word(is_reached: bool) -> str:
    return "reached" if is_reached else "MISSED"
