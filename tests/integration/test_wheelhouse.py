"""Wheels for Pis, from the source of this installation and the package index."""

import os
import shutil
import sys
import time

import pytest

from pi_cluster.cluster.errors import HostError
from pi_cluster.deploy.wheels.project_wheel import Source, build_wheel
from pi_cluster.deploy.wheels.wheelhouse import Target, wheelhouse
from tests.support.own_sources import ROOT

PI = Target((3, 13), "aarch64", 41)

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def house():
    """Wheels for a Pi with Debian 13; the cache is this user's, so that they are fetched once."""
    if not shutil.which("aarch64-linux-gnu-gcc"):
        pytest.skip("needs gcc-aarch64-linux-gnu")
    return wheelhouse(PI, None)


def names(house):
    return {wheel.path.name.split("-")[0] for wheel in house.wheels}


def test_every_wheel_runs_on_the_pi(house):
    for wheel in house.wheels:
        assert any(tag in wheel.path.name for tag in ("aarch64", "any"))
    assert {"pi_cluster", "pip", "numpy", "grpcio", "cryptography"} <= names(house)


def test_the_second_time_nobody_is_asked(house, monkeypatch):
    def refuse(*_):
        raise AssertionError("the cache is complete")

    monkeypatch.setattr("pi_cluster.deploy.wheels.wheelhouse._pip", refuse)
    monkeypatch.setattr("pi_cluster.deploy.wheels.wheelhouse.build_wheel", refuse)
    again = wheelhouse(PI, None)
    assert (again.digest, again.wheels) == (house.digest, house.wheels)


def test_the_wheel_of_a_new_source_has_the_one_of_an_old_source_go(house, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cache, before = tmp_path / "pi-cluster" / "wheels", house.wheels[0].path.parent
    shutil.copytree(before, cache / before.name)
    for name, days_ago in (("aarch64-old", 30), ("aarch64-recent", 0), ("x86_64-old", 30)):
        mark = cache / f"pi-cluster-{name}" / "complete"
        mark.parent.mkdir()
        mark.touch()
        then = time.time() - days_ago * 86_400
        os.utime(mark, (then, then))
    # Building it anew would take a minute.
    built = next(wheel.path for wheel in house.wheels if wheel.path.name.startswith("pi_cluster"))
    monkeypatch.setattr(
        "pi_cluster.deploy.wheels.wheelhouse.build_wheel",
        lambda source, machine, into: shutil.copy(built, into),
    )
    assert wheelhouse(PI, None).digest == house.digest
    folders = {path.name for path in cache.glob("pi-cluster-*/")}
    assert folders == {built.parent.name, "pi-cluster-aarch64-recent", "pi-cluster-x86_64-old"}


def test_a_folder_of_the_user_is_enough(house, tmp_path, monkeypatch):
    given = tmp_path / "given"
    given.mkdir()
    for wheel in house.wheels:
        shutil.copy(wheel.path, given)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:1/nobody")
    found = wheelhouse(PI, given)
    assert found.digest == house.digest


@pytest.mark.parametrize("machine", ["aarch64", os.uname().machine])
def test_a_mac_does_not_take_its_own_wheel_for_one_of_a_host(machine, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        HostError, match=f"for the Pis \\({machine}\\) are built on Linux.*--wheels"
    ):
        build_wheel(Source(ROOT, ""), machine, tmp_path)


def test_a_folder_without_the_projects_wheel_is_named(tmp_path):
    with pytest.raises(HostError, match=r"has no wheel of pi-cluster for aarch64: `make wheels`"):
        wheelhouse(PI, tmp_path)


def test_an_index_that_cannot_be_reached_is_told_with_the_way_out(house, tmp_path, monkeypatch):
    given = tmp_path / "given"
    given.mkdir()
    own = next(wheel.path for wheel in house.wheels if wheel.path.name.startswith("pi_cluster"))
    shutil.copy(own, given)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    with pytest.raises(HostError, match=r"pip cannot get the wheels for Python 3\.13.*--wheels"):
        wheelhouse(PI, given)
    complete = list((tmp_path / "cache").rglob("complete"))
    assert complete == [], "an unfinished folder must not look finished"
