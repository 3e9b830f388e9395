"""What a Pi that joined by itself keeps when something is removed from it."""

import hashlib
import json

import pytest

from pi_cluster.cluster.errors import HostError
from pi_cluster.deploy.hosts import local_service
from pi_cluster.deploy.hosts.remote import coordinator_host, layout
from pi_cluster.deploy.hosts.remote.purge import purge


@pytest.fixture
def host(tmp_path, monkeypatch):
    """A folder that stands for a host's root, without systemd and without the system user."""

    def inside(path):
        return tmp_path / path.relative_to("/")

    for name in ("PROGRAMS", "WHEELS", "DEFAULT_DATA", "LOCKS", "UNITS"):
        monkeypatch.setattr(layout, name, inside(getattr(layout, name)))
    monkeypatch.setattr(layout, "SYSTEM_USER", "nobody-of-this-name")
    monkeypatch.setattr(coordinator_host, "COMMAND", inside(coordinator_host.COMMAND))
    monkeypatch.setattr(local_service, "PROGRAM", inside(local_service.PROGRAM))
    for folder in (layout.UNITS, layout.LOCKS.parent, coordinator_host.COMMAND.parent):
        folder.mkdir(parents=True)
    return tmp_path


def test_purging_the_last_cluster_leaves_the_program_that_was_installed_by_hand(host):
    program = local_service.PROGRAM / "bin" / "pi-cluster"
    program.parent.mkdir(parents=True)
    program.touch()
    coordinator_host.COMMAND.symlink_to(program)
    layout.programs("default").mkdir(parents=True)
    layout.DEFAULT_DATA.mkdir(parents=True)
    purge("default", str(host / "srv"))
    assert coordinator_host.COMMAND.exists()
    assert not layout.PROGRAMS.exists() and not layout.DEFAULT_DATA.exists()


def test_purging_one_of_two_clusters_leaves_what_they_share(host):
    layout.current("other").mkdir(parents=True)
    layout.programs("default").mkdir(parents=True)
    layout.WHEELS.mkdir(parents=True)
    purge("default", str(host / "srv"))
    assert [path.name for path in layout.PROGRAMS.iterdir()] == ["other"]
    assert layout.WHEELS.exists()


def test_a_service_that_was_set_up_over_ssh_is_not_left_from_its_own_side(host):
    unit = layout.unit_file("default")
    unit.write_text("[Service]\n")
    layout.programs("default").mkdir(parents=True)
    digest = hashlib.sha256(unit.read_bytes()).hexdigest()
    layout.receipt("default").write_text(json.dumps({"unit": digest}))
    with pytest.raises(HostError, match="set up over SSH"):
        local_service.remove("default")
    assert unit.exists()


@pytest.mark.parametrize("receipt", ["", "[]", "{", '{"unit": "of the time before it joined"}'])
def test_a_receipt_of_something_else_does_not_hold_a_service_back(host, monkeypatch, receipt):
    """As on a host from which somebody asks, and which then joined."""
    monkeypatch.setattr(layout, "run", lambda words, *_: None)
    asked = []
    monkeypatch.setattr(
        "pi_cluster.deploy.hosts.remote.purge.command", lambda *words: asked.append(words)
    )
    monkeypatch.setattr(local_service, "DEFAULT_DATA_DIR", str(host / "srv"))
    unit = layout.unit_file("default")
    unit.write_text("[Service]\n")
    layout.programs("default").mkdir(parents=True)
    layout.receipt("default").write_text(receipt)
    local_service.remove("default")
    assert not unit.exists()
    assert ("systemctl", "disable", "--quiet", "--now", unit.name) in asked
