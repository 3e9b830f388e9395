"""The draft model of a pipeline, as `up` remembers it."""

from dataclasses import asdict, dataclass
from typing import Any, Self

from pi_cluster.coordinator.planning.draft_placing import PlacedDraft

GUESSES_BY = "model"
"""How those of a draft model are called where guesses are counted by who made them."""

_MOST_THREADS = 256


@dataclass(frozen=True, slots=True)
class RecordedDraft:
    """A small model that guesses on the machine that asks."""

    model: str
    """An absolute path, or the name of a pulled model."""
    store: str
    """Where its store lies on this machine."""
    digest: str
    """Of that store, when its tokens were compared with those of the pipeline's model."""
    threads: int
    """That it computes with."""
    placed: PlacedDraft

    def to_json(self) -> dict[str, Any]:
        """Values for ``json``."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """From values of :meth:`to_json`. Raises as Python does for others."""
        placed, threads = values["placed"], int(values["threads"])
        if not 0 < threads <= _MOST_THREADS:
            raise ValueError(f"{threads} threads")
        token_s, sizes = float(placed["token_s"]), (placed["memory_bytes"], placed["weight_bytes"])
        if not 0 < token_s < float("inf") or any(type(one) is not int or one < 0 for one in sizes):
            raise ValueError("a draft model that takes no time, or no room")
        return cls(
            model=str(values["model"]),
            store=str(values["store"]),
            digest=str(values["digest"]),
            threads=threads,
            placed=PlacedDraft(str(placed["machine_id"]), token_s, *sizes),
        )
