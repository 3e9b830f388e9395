"""How many threads are worth having."""

import os


def usable_cores() -> int:
    """Cores that this process may use; all of the machine's where the system does not tell."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
