"""What is printed is printed once, whatever interrupts it."""

import fcntl
import os
import signal
import subprocess
import sys
import termios
import time

import pytest

ROOM_BYTES = 4096
TEXT = "".join(f"{number:05d}" for number in range(1200)) + "\n"
PRINTS = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from pi_cluster.deploy.screen.standard_streams import prepare_standard_streams
prepare_standard_streams()
try:
    print("".join(f"{number:05d}" for number in range(1200)), file=sys.STREAM)
except KeyboardInterrupt:
    sys.exit(130)
"""


def waiting_bytes(pipe):
    """How much stands in a pipe."""
    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, b"\0" * 4), sys.byteorder)


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_what_an_interrupted_write_has_written_is_not_written_again(stream):
    words = [sys.executable, "-P", "-c", PRINTS.replace("STREAM", stream)]
    piped = {stream: subprocess.PIPE}
    with subprocess.Popen(words, **piped, pipesize=ROOM_BYTES) as printing:
        pipe = getattr(printing, stream)
        deadline = time.monotonic() + 60
        while waiting_bytes(pipe) < ROOM_BYTES:
            assert printing.poll() is None and time.monotonic() < deadline
            os.sched_yield()
        printing.send_signal(signal.SIGINT)
        # It can end only once the rest has found room.
        assert pipe.read().decode() == TEXT
        assert printing.wait(60) == 130
