"""The operator's cache of wheels: filled once, by one; what is out of use goes."""

import fcntl
import os
import shutil
import threading
import time
from pathlib import Path

import pytest

from pi_cluster.deploy.wheels.wheel_cache import filled, remove_unused
from tests.support.cluster_process import eventually

DAY_S = 86_400
LOCKS = Path("/proc/locks")  # who waits stands behind an arrow


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Where the folders are."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "pi-cluster" / "wheels"


def fill(name, days_ago=0.0):
    """A folder that was filled and last used so long ago."""
    with filled(name) as (folder, is_empty):
        assert is_empty
        (folder / "a.whl").write_text("wheel")
    then = time.time() - days_ago * DAY_S
    os.utime(folder / "complete", (then, then))
    os.utime(folder, (then, then))
    return folder


def left(cache):
    return sorted(path.name for path in cache.iterdir())


def test_a_folder_is_filled_once(cache):
    fill("a")
    with filled("a") as (folder, is_empty):
        assert not is_empty and (folder / "a.whl").read_text() == "wheel"


def test_what_was_not_filled_to_the_end_is_emptied(cache):
    with pytest.raises(KeyboardInterrupt), filled("a") as (folder, _):
        (folder / "half.whl").write_text("wh")
        raise KeyboardInterrupt
    with filled("a") as (folder, is_empty):
        assert is_empty and list(folder.iterdir()) == []


def test_what_nobody_has_used_for_a_day_goes_with_its_lock(cache):
    for name, days_ago in (("x-1", 400), ("x-2", 1.1), ("x-3", 0.9), ("x-4", 0), ("y-1", 400)):
        fill(name, days_ago)
    remove_unused("x-")
    assert left(cache) == ["x-3", "x-3.lock", "x-4", "x-4.lock", "y-1", "y-1.lock"]


def test_what_is_used_again_stays(cache):
    fill("x-1", 400)
    with filled("x-1"):
        pass
    remove_unused("x-")
    assert "x-1" in left(cache)


def test_what_is_being_used_stays_however_old_it_is(cache):
    fill("x-1", 400)
    with filled("x-1") as (folder, _):
        remove_unused("x-")
        assert (folder / "a.whl").exists()


def test_an_unfinished_folder_goes_after_a_day_too(cache):
    folder = fill("x-1")
    (folder / "complete").unlink()
    remove_unused("x-")
    assert folder.exists()
    then = time.time() - 2 * DAY_S
    os.utime(folder, (then, then))
    remove_unused("x-")
    assert left(cache) == []


def test_whoever_waited_for_a_folder_that_was_removed_meanwhile_fills_it_anew(cache):
    folder = fill("x-1")
    found = []

    def use():
        with filled("x-1") as (_, is_empty):
            found.append(is_empty)

    waiting = threading.Thread(target=use)
    path = cache / "x-1.lock"
    with path.open("w") as lock:  # as the one who removes it does
        fcntl.flock(lock, fcntl.LOCK_EX)
        waiting.start()
        number = f":{path.stat().st_ino} "
        eventually(
            lambda: [line for line in LOCKS.read_text().splitlines() if number in line],
            lambda lines: any("->" in line for line in lines),
        )
        shutil.rmtree(folder)
        path.unlink()
    waiting.join(20)
    assert found == [True]
    assert left(cache) == ["x-1", "x-1.lock"]
