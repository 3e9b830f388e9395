import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from pi_cluster.kernels import Engine, KernelsError, variants
from tests.support.kernel_engines import assert_same_bits, engine, packed, random


def test_portable_is_everywhere_and_the_fastest_is_the_default():
    assert variants()[-1] == "portable"
    with Engine(threads=1) as default:
        assert default.variant == variants()[0]


@pytest.mark.parametrize("name", ["avx1024", "", "portable "])
def test_a_variant_that_this_machine_does_not_have_is_refused_by_name(name):
    with pytest.raises(KernelsError, match=f"no kernels '{name}'; it has .*portable"):
        Engine(name)


@pytest.mark.parametrize("threads", [0, -1, 1000])
def test_an_impossible_number_of_threads_is_refused(threads):
    with pytest.raises(KernelsError, match="1 to 256"):
        Engine(threads=threads)


def test_a_closed_engine_says_so_and_closing_twice_is_harmless():
    closed = Engine(threads=3)
    closed.close()
    closed.close()
    with pytest.raises(KernelsError, match="closed"):
        closed.rms_norm(random(0, 1, 4), random(0, 4), 1e-5)


def test_many_regions_of_work_leave_no_thread_behind():
    before = threading.active_count(), len(list(Path("/proc/self/task").iterdir()))
    x, gain = random(1, 16, 64), random(2, 64)
    with Engine(threads=4) as busy:
        first = busy.rms_norm(x, gain, 1e-5)
        for _ in range(2000):
            assert_same_bits(busy.rms_norm(x, gain, 1e-5), first)
    assert (threading.active_count(), len(list(Path("/proc/self/task").iterdir()))) == before


def test_callers_on_several_threads_do_not_disturb_each_other():
    matrix, _ = packed(3, 320, 64, "q4")
    inputs = [random(10 + i, 20, 64) for i in range(4)]
    expected = [engine().linear(x, matrix) for x in inputs]
    wrong = []
    with Engine(threads=3) as shared:

        def work(i):
            results = (shared.linear(inputs[i], matrix) for _ in range(100))
            wrong.extend(i for got in results if not np.array_equal(got, expected[i]))

        threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong


FORK = """
import os
from tests.support.kernel_engines import random
from pi_cluster.kernels import Engine
x, gain = random(1, 16, 64), random(2, 64)
engine = Engine(threads=3)
expected = engine.rms_norm(x, gain, 1e-5)
child = os.fork()
if not child:
    same = (engine.rms_norm(x, gain, 1e-5) == expected).all()
    engine.close()
    with Engine(threads=2) as own:
        same &= (own.rms_norm(x, gain, 1e-5) == expected).all()
    os._exit(0 if same else 1)
assert os.waitpid(child, 0)[1] == 0
assert (engine.rms_norm(x, gain, 1e-5) == expected).all()
"""

EXIT = """
from tests.support.kernel_engines import random
from pi_cluster.kernels import Engine
engine = Engine(threads=4)
engine.rms_norm(random(1, 16, 64), random(2, 64), 1e-5)
"""


@pytest.mark.parametrize("program", [FORK, EXIT], ids=["fork", "exit"])
def test_forks_and_exits_without_closing_end_cleanly(program):
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
