"""The systemd unit of a server, of a user's session or of the system."""

import subprocess

import pytest

from pi_cluster.deploy.hosts.remote import layout
from pi_cluster.deploy.hosts.server_service import ServerService


@pytest.mark.parametrize("is_system", [True, False])
def test_systemd_understands_all_of_it(tmp_path, is_system):
    service = ServerService("home", is_system)
    path = tmp_path / service.unit_name
    text = service.unit(["--host", "0.0.0.0", "--allow-host", "my $pi%h"])
    assert ' --allow-host "my $$pi%%h" --cluster home\n' in text
    path.write_text(text)
    scope = [] if is_system else ["--user"]
    done = subprocess.run(
        ["systemd-analyze", *scope, "verify", "--man=no", "--recursive-errors=no", path],
        capture_output=True,
        text=True,
        timeout=60,
        env={"XDG_RUNTIME_DIR": str(tmp_path), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_nobody_takes_it_for_a_worker():
    assert layout.cluster_of_unit(ServerService("home", True).unit_name) is None
    assert not ServerService("home", True).unit_name.startswith("pi-cluster-")
