"""What a node keeps about itself: whole after a restart, or refused with the file's name."""

import json

import pytest

from pi_cluster.cluster.errors import StateError
from pi_cluster.cluster.speed import NodeProfile, Speed
from pi_cluster.worker.identity import MeasuredWith, NodeFile, load_identity, save_identity

MEASURED = NodeFile("a1", NodeProfile(Speed(1e9, 2e9), Speed(3e9, 4e9)), MeasuredWith("neon", 4))


def test_an_id_is_made_once_and_a_profile_survives(tmp_path):
    fresh = load_identity(tmp_path)
    assert fresh.node_id.isalnum() and fresh.profile is None
    assert load_identity(tmp_path) == fresh
    save_identity(tmp_path, MEASURED)
    assert load_identity(tmp_path) == MEASURED


@pytest.mark.parametrize(
    "change",
    [
        {"node_id": "../x"},
        {"node_id": 7},
        {"profile": None},
        {"profile": {"alone": {"read_bytes_ps": 1.0, "macs_ps": 1.0}}},
        {
            "profile": {
                name: {"read_bytes_ps": 0.0, "macs_ps": 1.0} for name in ("alone", "machine")
            }
        },
        {"measured_with": {"kernels": "neon"}},
    ],
)
def test_a_torn_identity_is_refused_with_its_file(tmp_path, change):
    save_identity(tmp_path, MEASURED)
    path = tmp_path / "node.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(StateError, match=r"node\.json cannot be read"):
        load_identity(tmp_path)
