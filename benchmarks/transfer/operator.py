"""The operator's side of a measured hand-out: ``python -m benchmarks.transfer.operator``.

Reads what it is to do as lines of JSON (``benchmarks/json_process.py``).
"""

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.json_process import serve
from benchmarks.transfer.store import even_ranges
from benchmarks.workers import Silent, rollout
from cluster.store import Store
from deploy.transfer import hand_out_shards
from transformer.stage import Limits

_LIMITS = Limits(max_step_rows=1, max_sequences=1, context=1, cache_positions=1)


class Operator:
    """Hands out the shards of a store as ``pi-cluster up`` does."""

    def hand_out(self, store: str, addresses: list[str]) -> dict[str, Any]:
        """As many layers to each node; returns the seconds it takes and the bytes moved."""
        opened = Store(Path(store))
        ranges = even_ranges(opened.manifest.n_layers, len(addresses))
        planned = rollout(opened, _LIMITS, addresses, ranges)
        began = time.perf_counter()
        moved = hand_out_shards(planned, Silent())
        return {"seconds": time.perf_counter() - began, **asdict(moved)}


if __name__ == "__main__":
    serve(Operator())
