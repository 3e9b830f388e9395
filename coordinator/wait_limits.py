"""How long a session waits for nodes before it says so, and before it gives them up."""

from dataclasses import dataclass

from pi_cluster.cluster import settings
from pi_cluster.transformer.errors import SettingsError

_NODES_WAIT_LONGER_S = 2.0  # who asks should be the first to give up: it can say why


@dataclass(frozen=True, slots=True)
class WaitLimits:
    """Of one session. All are seconds of waiting; what nobody waits for is never told of."""

    give_up_after_s: float = settings.GIVE_UP_AFTER_S
    """A silence of up to this ends nothing: who answers again by then is waited for."""
    told_after_s: float = settings.SILENCE_TOLD_S
    slow_after_s: float = 5.0
    """A step that takes less is never called slow: a machine may have other things to do."""
    stuck_after_s: float = 60.0
    """A step that takes less is never given up, however short it should be."""
    stalled_after_s: float = 60.0
    """While all nodes answer, none computes, and nothing comes: more than a lossy link needs."""

    def __post_init__(self) -> None:
        least, most = settings.LEAST_GIVE_UP_AFTER_S, settings.MOST_GIVE_UP_AFTER_S
        if not least <= self.give_up_after_s <= most:
            raise SettingsError(
                f"a silent node can be given up after {least:g} to {most:g} seconds, not "
                f"{self.give_up_after_s:g}"
            )

    @property
    def silent_s(self) -> float:
        """From the last sign of a node until it is given up."""
        return self.give_up_after_s + settings.FIRST_ANSWER_S

    @property
    def held_s(self) -> float:
        """For how long nodes hold a session that nobody asks after."""
        return self.silent_s + _NODES_WAIT_LONGER_S


USUAL_LIMITS = WaitLimits()
