"""The costs of commands, as `make bench-startup` takes them."""

import os
import subprocess
import sys

import pytest

from benchmarks.startup import cost_of, measure

BUSY = "import time\nwhile time.process_time() < 0.3: pass"
IDLE = "import threading; threading.Event().wait(0.5)"


def test_cpu_seconds_hold_what_is_computed_and_no_waiting():
    busy = cost_of([sys.executable, "-c", BUSY], os.environ)
    idle = cost_of([sys.executable, "-c", IDLE], os.environ)
    assert busy.cpu_s >= 0.3 and idle.wall_s >= 0.5
    assert idle.cpu_s < busy.cpu_s


def test_a_command_that_fails_is_no_figure():
    with pytest.raises(subprocess.CalledProcessError):
        cost_of([sys.executable, "-c", "raise SystemExit(3)"], os.environ)


def test_each_command_gets_a_row_of_all_its_runs_but_the_first(tmp_path):
    log = tmp_path / "runs"
    words = [sys.executable, "-c", "import sys; open(sys.argv[1], 'a').write('x')", str(log)]
    rows = measure({"one": words, "two": words}, 2, os.environ)
    assert [row.command for row in rows] == ["one", "two"]
    assert len(log.read_text()) == 6
    assert all(row.most_cpu_s >= row.cpu_s > 0 for row in rows)
