"""What a node is asked to serve, as it is checked and as it is kept for the next start."""

import pytest

from benchmarks.transfer.store import make_store
from pi_cluster.cluster.errors import NodeError
from pi_cluster.cluster.layer_range import LayerRange
from pi_cluster.cluster.wire.load_request import load_request
from pi_cluster.transformer.limits import Limits
from pi_cluster.worker.stage.assignment import assignment_of, request_for

LIMITS = Limits(max_step_rows=1, max_sequences=1, context=1, cache_positions=1)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("assignment") / "store", 3, 1000).manifest


def request(manifest, standby_sha256):
    layers = LayerRange(0, manifest.n_layers)
    return load_request(1, manifest, layers, LIMITS, None, standby_sha256=standby_sha256)


def test_what_stands_by_is_kept_for_the_next_start(manifest):
    standby = [manifest.layer_file(2).sha256, manifest.head_file.sha256]
    kept = request_for(assignment_of(request(manifest, standby)))
    assert assignment_of(kept).standby == set(standby)


@pytest.mark.parametrize("digest", ["", "../../etc/passwd", "0" * 64])
def test_shards_of_no_such_store_do_not_stand_by(manifest, digest):
    with pytest.raises(NodeError, match="shards of the store that it loads, and no others"):
        assignment_of(request(manifest, [digest]))
