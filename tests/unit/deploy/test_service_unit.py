"""The systemd unit of a worker."""

import subprocess

import pytest

from pi_cluster.cluster.errors import HostError
from pi_cluster.deploy.hosts.systemd_unit import worker_unit
from pi_cluster.worker.command_line import WorkerCommand


def unit(**changes):
    values = {"cluster": "home", "python": "/opt/x/bin/python", "data_dir": "/var/lib/x/home"}
    return worker_unit(WorkerCommand(**(values | changes)))


def setting(text, name):
    return [line.partition("=")[2] for line in text.splitlines() if line.startswith(f"{name}=")]


def test_it_runs_the_worker_as_the_system_user_with_what_was_chosen():
    text = unit(threads=3, memory_bytes=6 << 30)
    assert setting(text, "User") == ["pi-cluster"]
    assert setting(text, "MemoryMax") == [str(6 << 30)]
    (command,) = setting(text, "ExecStart")
    assert command.endswith(f"--data-dir /var/lib/x/home --threads 3 --memory {6 << 30}")


def test_without_a_limit_there_is_none():
    assert setting(unit(), "MemoryMax") == []
    assert "--memory" not in unit()


def test_a_program_in_a_home_can_be_read_and_homes_are_hidden_otherwise():
    assert setting(unit(), "ProtectHome") == ["yes"]
    assert setting(unit(python="/home/pi/.venv/bin/python"), "ProtectHome") == ["read-only"]


def test_what_stands_in_a_name_is_a_name():
    (command,) = setting(unit(name='My $HOME "%h" Pi'), "ExecStart")
    assert '--name "My $$HOME \\"%%h\\" Pi"' in command
    with pytest.raises(HostError, match="cannot stand in a systemd unit"):
        unit(name="x\nExecStartPre=/bin/sh")


def test_systemd_understands_all_of_it(tmp_path):
    path = tmp_path / "pi-cluster-home.service"
    path.write_text(unit(python="/usr/bin/env", memory_bytes=1 << 30))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", path],
        capture_output=True,
        text=True,
        timeout=60,
    )
    ours = [line for line in done.stderr.splitlines() if "pi-cluster-home" in line]
    assert ours == []
