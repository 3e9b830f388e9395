"""What eases a node's memory while it is short of it, and when texts may come in again. Pure."""

from pi_cluster.cluster.settings import ASK_EVERY_S

WORKS_S = 2 * ASK_EVERY_S  # then a node has freed what it was told to, and said how it is
CAREFUL_S = 60.0  # after it was short, texts come in one by one for so long


class Relief:
    """When the next step is due; the time is that of a monotonic clock, in seconds.

    Texts that came in together may fill the memory together, so afterwards each is let in only
    when it is seen what the one before it took.
    """

    def __init__(self) -> None:
        self._acted_s: float | None = None
        self._careful_until_s: float | None = None
        self._let_in_s = 0.0

    def is_over(self) -> None:
        """No node is short of memory now."""
        self._acted_s = None

    def is_short(self, now_s: float) -> None:
        """One is."""
        if self._acted_s is None:
            self._acted_s = now_s
        self._careful_until_s = now_s + CAREFUL_S

    def acted(self, now_s: float) -> None:
        """Something was made free."""
        self._acted_s = now_s

    def needs_more(self, now_s: float) -> bool:
        """Whether what was made free has not been enough."""
        return self._acted_s is not None and now_s - self._acted_s > WORKS_S

    def lets_in(self, now_s: float, running: int) -> bool:
        """Whether one more text may come to those that run."""
        if self._acted_s is not None:
            return False
        is_careful = self._careful_until_s is not None and now_s < self._careful_until_s
        return not (is_careful and running and now_s - self._let_in_s < WORKS_S)

    def let_in(self, now_s: float) -> None:
        """One has come."""
        self._let_in_s = now_s
