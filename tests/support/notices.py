"""What a session tells those who wait."""

import threading


class Notices:
    """Collects sentences; any thread may wait for so many of them."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self._changed = threading.Condition()

    def __call__(self, sentence: str) -> None:
        with self._changed:
            self.told.append(sentence)
            self._changed.notify_all()

    def wait(self, count: int, patience_s: float = 40.0) -> None:
        """Until there are ``count``."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.told) >= count, patience_s), self.told
