"""Which tests go to which worker of pytest-xdist, and in which order.

Tests of a file stay together, since they share what they start, unless each of them starts all that
it uses. Files go in their order: those of integration, which wait most, before the many short ones,
which then fill whatever worker is free.
"""

from xdist.scheduler import LoadScopeScheduling

APART = frozenset(
    f"tests/integration/test_{name}.py"
    for name in (
        *("addresses", "advice", "asking_again", "bench", "doctor", "full_contexts"),
        *("kernels_in_workers", "measuring", "nodes", "returning_workers", "system_failures"),
        *("transfer", "two_coordinators", "up_and_down", "verification", "watching"),
    )
)
"""Files whose tests may go to any worker: no fixture of theirs is expensive for a whole file."""


class ByWhatIsShared(LoadScopeScheduling):
    """Hands out files, and single tests of the files above."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return nodeid if file in APART else file
