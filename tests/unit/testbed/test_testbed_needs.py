"""A machine that cannot have a test bed is told what it lacks."""

import os
import shutil
import subprocess

import pytest

from tests.testbed import rootfs
from tests.testbed.errors import TestbedError, need_root, need_tools
from tests.testbed.network.network import NetworkError, check_possible
from tests.testbed.rootfs import PI_OS_LITE, made


def test_whoever_is_not_root_is_told_so(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(TestbedError, match="run the tests with sudo"):
        need_root()
    with pytest.raises(NetworkError, match="run this with sudo"):
        check_possible()


@pytest.mark.parametrize(
    ("tool", "package"),
    [
        ("systemd-nspawn", "systemd-container"),
        ("mmdebstrap", "mmdebstrap"),
        ("ssh", "openssh-client"),
        ("qemu-aarch64-static", "qemu-user-static"),
    ],
)
def test_a_missing_tool_is_named_with_its_package(monkeypatch, tool, package):
    monkeypatch.setattr(shutil, "which", lambda name: None if name == tool else f"/usr/bin/{name}")
    with pytest.raises(TestbedError, match=f"needs {tool}: apt install {package}$"):
        need_tools("nsenter", tool)


def test_a_root_that_cannot_be_made_leaves_nothing_in_the_cache(monkeypatch, tmp_path):
    """As without a network: the end of what mmdebstrap says is passed on."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(rootfs, "need_root", lambda: None)
    monkeypatch.setattr(rootfs, "need_tools", lambda *names: None)
    failing = subprocess.CompletedProcess([], 1, stdout="", stderr="E: no mirror\n")
    monkeypatch.setattr(subprocess, "run", lambda *words, **options: failing)
    with pytest.raises(TestbedError, match=r"could not make Debian bookworm.*E: no mirror"):
        made(PI_OS_LITE)
    assert [path.suffix for path in (tmp_path / "pi-cluster" / "testbed").iterdir()] == [".lock"]
