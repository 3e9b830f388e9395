"""The operator's side of a measured hand-out, in a process of its own.

    python -m benchmarks.transfer.operator STORE AUTHORITY ADDRESS...

AUTHORITY is the folder of the cluster's certificates, or ``plain`` for a cluster without. Hands
out the shards as ``pi-cluster up`` does, as many layers to each node. Prints ``begun`` when it
knows what a node lacks, and at the end a line with the seconds and the bytes as JSON.
"""

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

from benchmarks.transfer.certificates import operator_dialer
from benchmarks.transfer.store import even_ranges
from benchmarks.workers import PLAIN, Silent, rollout
from pi_cluster.cluster.errors import ClusterError
from pi_cluster.cluster.store.store import Store
from pi_cluster.cluster.wire.peer import Peer
from pi_cluster.coordinator.pipeline.transfer import hand_out_shards
from pi_cluster.transformer.limits import Limits

_LIMITS = Limits(max_step_rows=1, max_sequences=1, context=1, cache_positions=1)


class _Begun(Silent):
    """Shows only that a transfer begins."""

    def begin(self, node: Peer, received_bytes: int, total_bytes: int) -> None:  # noqa: ARG002
        """Say so."""
        print("begun", flush=True)


def main() -> None:
    """Hand out."""
    store, authority, addresses = Store(Path(sys.argv[1])), sys.argv[2], sys.argv[3:]
    try:
        dialer = PLAIN if authority == "plain" else operator_dialer(Path(authority))
        ranges = even_ranges(store.manifest.n_layers, len(addresses))
        planned = rollout(store, _LIMITS, addresses, ranges, dialer)
        began = time.perf_counter()
        moved = hand_out_shards(planned, _Begun())
    except ClusterError as error:
        sys.exit(f"{type(error).__name__}: {error}")
    print(json.dumps({"seconds": time.perf_counter() - began, **asdict(moved)}))


if __name__ == "__main__":
    main()
