"""A model in each format that it could be kept in: how large it is, and how fast it answers."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pi_cluster.coordinator.planning.prediction import USERS
from pi_cluster.deploy.screen import output
from pi_cluster.deploy.screen.tables import FittedTable, numbers, whole

_TITLE = "in other formats (shard --weights)"


@dataclass(frozen=True, slots=True)
class InFormat:
    """What a model is, or would be, in ``weights``."""

    weights: str
    is_this: bool
    """Whether it is kept so."""
    size_bytes: int
    decode_tps: float | None
    """For one user; None where it does not fit into these nodes."""
    users_tps: float | None
    """For ``USERS`` users together."""

    def to_json(self) -> dict[str, Any]:
        """Values for ``json``."""
        return asdict(self)


def formats_table(formats: Sequence[InFormat]) -> FittedTable:
    """A row for each format."""
    rows = [
        (
            f"{one.weights}, as it is" if one.is_this else one.weights,
            output.size(one.size_bytes),
            "does not fit" if one.decode_tps is None else f"{one.decode_tps:.2f}",
            "" if one.users_tps is None else f"{one.users_tps:.2f}",
        )
        for one in formats
    ]
    headings = ("bytes", "tokens/s, one user", f"tokens/s, {USERS} users")
    return FittedTable([whole("weights"), *map(numbers, headings)], rows, _TITLE)
