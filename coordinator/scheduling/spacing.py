"""When steps of guesses leave: each as the one before it has passed a stage."""


class Spacing:
    """Has guesses wait here instead of at a stage, where more of them come together meanwhile.

    A step that waits at the first stage begins there just when a result comes back, and if that
    shows the guesses to be wrong, the next certain id has to wait for them.
    """

    def __init__(self) -> None:
        self._next_s = 0.0

    def sent(self, now: float, step_s: float, ahead: int) -> None:
        """A step has left that a stage takes so long for, while so many were ``ahead`` of it."""
        # However wrong earlier times were: it waits for no more than those, and one given up.
        begins = min(max(now, self._next_s), now + (ahead + 1) * step_s)
        self._next_s = begins + step_s

    def wait_s(self, now: float) -> float:
        """How long guesses should wait; 0 if they need not."""
        return max(0.0, self._next_s - now)
