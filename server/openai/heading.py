"""What all that belongs to one answer begins with."""

import secrets
import time
from dataclasses import dataclass, field

from pi_cluster.server.asking.model_card import ModelCard

_DIGITS = 16  # of the store's digest: enough to tell two from each other


@dataclass(frozen=True, slots=True)
class Heading:
    """Names one response: equal in all its chunks."""

    kind: str
    """``chatcmpl`` or ``cmpl``."""
    card: ModelCard
    id: str = field(init=False)
    created: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "id", f"{self.kind}-{secrets.token_hex(12)}")
        object.__setattr__(self, "created", int(time.time()))

    @property
    def words(self) -> tuple[str, int, str, str]:
        """Id, time, model and fingerprint, in the order in which answers have them."""
        return self.id, self.created, self.card.id, f"fp_{self.card.digest[:_DIGITS]}"
