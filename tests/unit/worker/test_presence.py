"""One worker per data directory, found while it lives and not a moment longer."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pi_cluster.cluster.errors import StateError
from pi_cluster.worker.presence import Presence, find_presence, present

ROOT = Path(__file__).parents[3]

# Holds the folder, says so, and stays until its input ends.
HOLDER = """
import os, sys
from pathlib import Path
from pi_cluster.worker.presence import Presence, present

with present(Path(sys.argv[1])) as tell:
    tell(Presence(os.getpid(), "127.0.0.1:7711", "abc123"))
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def holder(folder: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def test_nobody_is_found_where_no_worker_ever_ran(tmp_path):
    assert find_presence(tmp_path) is None
    assert find_presence(tmp_path / "missing") is None


def test_a_worker_is_found_with_its_process_and_then_with_its_address(tmp_path):
    with present(tmp_path / "new" / "folder") as tell:
        assert find_presence(tmp_path / "new" / "folder") == Presence(os.getpid())
        told = Presence(os.getpid(), "[::1]:7711", "0011aabbccdd")
        tell(told)
        assert find_presence(tmp_path / "new" / "folder") == told
        tell(Presence(1, "b:2", "c"))
        assert find_presence(tmp_path / "new" / "folder") == Presence(1, "b:2", "c")
    assert find_presence(tmp_path / "new" / "folder") is None


def test_a_second_holder_is_refused_and_told_what_to_do(tmp_path):
    with present(tmp_path) as tell:
        told = Presence(os.getpid(), "127.0.0.1:7711", "abc123")
        tell(told)
        in_use = rf"^{tmp_path} is in use by another worker.*--data-dir"
        with pytest.raises(StateError, match=in_use), present(tmp_path):
            pytest.fail("two workers hold one folder")
        assert find_presence(tmp_path) == told


def test_a_folder_may_be_held_again_once_it_was_let_go_of_also_by_an_error(tmp_path):
    with pytest.raises(ZeroDivisionError), present(tmp_path):
        raise ZeroDivisionError
    assert find_presence(tmp_path) is None
    with present(tmp_path):
        assert find_presence(tmp_path) == Presence(os.getpid())


def test_two_folders_are_held_side_by_side(tmp_path):
    with present(tmp_path / "one"), present(tmp_path / "two"):
        assert find_presence(tmp_path / "one") == find_presence(tmp_path / "two") is not None


def test_looking_for_a_worker_does_not_keep_one_from_starting(tmp_path):
    with present(tmp_path):
        pass
    for _ in range(20):
        assert find_presence(tmp_path) is None
        with present(tmp_path):
            assert find_presence(tmp_path) is not None


def test_another_process_is_found_and_refused_and_gone_once_it_is_killed(tmp_path):
    with holder(tmp_path) as process:
        assert find_presence(tmp_path) == Presence(process.pid, "127.0.0.1:7711", "abc123")
        with pytest.raises(StateError, match="in use"), present(tmp_path):
            pytest.fail("two workers hold one folder")
        process.send_signal(signal.SIGKILL)
        assert process.wait(10) == -signal.SIGKILL
        # It could not tidy up: what it told still stands in the file, and is not believed.
        assert "abc123" in (tmp_path / "lock").read_text()
        assert find_presence(tmp_path) is None
        with present(tmp_path):
            assert find_presence(tmp_path) == Presence(os.getpid())


def test_a_holder_between_two_tellings_is_found_without_an_address(tmp_path):
    with present(tmp_path):
        (tmp_path / "lock").write_text("")
        assert find_presence(tmp_path) == Presence(0)
