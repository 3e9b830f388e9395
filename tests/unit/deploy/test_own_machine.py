"""This machine as one that drafts."""

import pytest

from pi_cluster.cluster.layer_range import LayerRange
from pi_cluster.cluster.wire.interfaces import own_interfaces
from pi_cluster.coordinator.stage_address import StageAddress
from pi_cluster.deploy.drafting import own_machine
from pi_cluster.deploy.drafting.own_machine import draft_threads, stages_here


@pytest.mark.parametrize(
    ("cores", "workers", "threads"),
    [(1, 0, 1), (2, 0, 1), (4, 0, 3), (4, 1, 2), (8, 3, 2), (2, 3, 1)],
)
def test_threads_leave_cores_to_who_asks_and_to_workers(monkeypatch, cores, workers, threads):
    monkeypatch.setattr(own_machine, "usable_cores", lambda: cores)
    assert draft_threads(workers) == threads


def test_stages_at_addresses_of_this_machine_are_here():
    own = [
        f"[{one.address}]:7711" if one.address.version == 6 else f"{one.address}:7711"
        for each in own_interfaces()
        for one in each.addresses
    ]
    elsewhere = ["192.0.2.1:7711", "pi1.local:7711", "[2001:db8::1]:7711"]
    stages = [
        StageAddress(f"n{i}", f"n{i}", address, LayerRange(i, i + 1), ())
        for i, address in enumerate([*elsewhere, "127.0.0.1:1", "localhost:1", *own])
    ]
    assert stages_here(stages) == len(stages) - len(elsewhere)
