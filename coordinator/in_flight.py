"""The steps of a session that are to come back, and for whom."""

from pi_cluster.cluster.errors import NodeError


class InFlight:
    """Steps by their numbers, which grow; each with the sequences in it that are still wanted."""

    def __init__(self) -> None:
        self._wanted: dict[int, set[int]] = {}
        self._rows: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._wanted)

    def __contains__(self, step: int) -> bool:
        return step in self._wanted

    def add(self, step: int, sequences: set[int], rows: int) -> None:
        """A step with ``rows`` of these sequences is sent."""
        self._wanted[step] = sequences
        self._rows[step] = rows

    def supersede(self, sequence: int) -> bool:
        """Want nothing more of a sequence that was sent; whether anything was."""
        concerned = [step for step, wanted in self._wanted.items() if sequence in wanted]
        for step in concerned:
            self._wanted[step].remove(sequence)
            if not self._wanted[step]:
                del self._wanted[step], self._rows[step]
        return bool(concerned)

    def take(self, step: int, last_stage: str) -> tuple[set[int], int]:
        """One has come back: the sequences that are wanted of it, and its rows.

        Raises ``NodeError``, which names the ``last_stage``, when another was to come before.
        """
        oldest = next(iter(self._wanted))
        if step != oldest:
            raise NodeError(
                f"{last_stage} answered step {step} before step {oldest}: "
                "bring the pipeline up again"
            )
        return self._wanted.pop(step), self._rows.pop(step)
