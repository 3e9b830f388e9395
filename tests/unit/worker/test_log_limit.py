"""A worker's log: bounded whatever comes, harmless, and still telling what is going on."""

import json
import subprocess
import sys

import pytest

from pi_cluster.worker.log_limit import LineLimit
from tests.support.hostile import HOSTILE, steering


class Clock:
    """A time that passes when it is told to."""

    def __init__(self):
        self.now_s = 0.0

    def __call__(self):
        return self.now_s


def test_of_lines_that_differ_in_numbers_only_a_few_are_written_and_the_others_counted():
    told, clock = [], Clock()
    limit = LineLimit(told.append, lines=3, window_s=60, now=clock)
    calls = [f"refused a call of 10.0.0.7:{port}" for port in range(40_000, 40_100)]
    assert [line for line in calls if limit.admits(line)] == calls[:3]
    assert limit.admits("another line") and told == []
    clock.now_s = 61
    limit.close_windows()
    assert told == ["97 more lines in 60 s like: refused a call of #.#.#.#:#"]
    assert limit.admits(calls[3])


def test_whoever_invents_kinds_of_lines_is_bounded_too():
    told, clock = [], Clock()
    limit = LineLimit(told.append, lines=3, window_s=60, now=clock)
    names = ["".join(chr(97 + int(digit)) for digit in f"{n:05}") for n in range(10_000)]
    assert sum(limit.admits(f"no such method: {name}") for name in names) < 200
    clock.now_s = 61
    limit.close_windows()
    assert len(told) == 1 and told[0].endswith("lines of other kinds")


LOGGING = f"""
import logging, os, sys, threading
from pi_cluster.cluster.log_lines import LogFormat
from pi_cluster.worker.log_limit import limited_log
hostile = {HOSTILE!r}
form = LogFormat((*sys.argv, "text")[2])
with limited_log(form, "pi2", lines=3, window_s=float(sys.argv[1])):
"""
# 5000 lines of one kind; it goes on until the count of those that were left out is told.
FLOOD = """
for port in range(5000):
    logging.warning("refused 127.0.0.1:%d", port)
told = threading.Event()
handler = logging.getLogger().handlers[0]
emit = handler.emit
handler.emit = lambda record: (emit(record), told.set())
assert told.wait(30)
"""


def logged(body, window_s=0.2, form="text"):
    """What a program writes to standard error that logs within the limits."""
    source = LOGGING + "".join(f"    {line}\n" for line in body.strip().splitlines())
    done = subprocess.run(
        [sys.executable, "-c", source, str(window_s), form], capture_output=True, timeout=60
    )
    return done.stderr.decode()


def test_a_flood_of_one_kind_becomes_a_few_lines_and_one_with_the_count():
    text = logged(FLOOD, window_s=3)
    lines = text.splitlines()
    assert len(lines) == 4 and lines[-1].endswith("4997 more lines in 3 s like: refused #.#.#.#:#")


def test_what_grpc_writes_is_limited_and_what_else_is_written_there_is_not():
    text = logged(r"""
for number in range(200):
    os.write(2, b"E1126 23:19:59.%06d   26807 ssl.cc:2563] Handshake failed\n" % number)
for number in range(20):
    os.write(2, b"free(): invalid pointer %d\n" % number)
""")
    assert text.count("Handshake failed") == 3 and text.count("free()") == 20


def test_a_record_is_one_line_whatever_is_in_it_and_a_traceback_keeps_its_lines():
    text = logged("""
logging.warning("refused %s", hostile)
try: raise ValueError(hostile)
except ValueError: logging.exception("failed")
os.write(2, hostile.encode() + bytes([10]))
""")
    assert steering(text) == []
    assert text.splitlines()[0].endswith(":fire:") and "\nTraceback (most recent" in text


def test_the_last_lines_before_an_exception_and_the_exception_itself_are_there():
    text = logged("""
os.write(2, b"the last of C" + bytes([10]))
logging.warning("the last of Python")
raise RuntimeError("the end")
""")
    assert "the last of C\n" in text and "the last of Python\n" in text
    assert text.rstrip().endswith("RuntimeError: the end")


@pytest.mark.parametrize("to", ["2>/dev/full", "2>&-"])
def test_a_log_that_nobody_takes_ends_nothing(to):
    source = LOGGING + "    logging.warning('one')\n    os.write(2, b'two' + bytes([10]))\n"
    words = ["sh", "-c", f'"$0" -c "$1" 0.2 {to}', sys.executable, source + "print('done')\n"]
    done = subprocess.run(words, stdout=subprocess.PIPE, timeout=60)
    assert (done.returncode, done.stdout) == (0, b"done\n")


def test_in_json_each_line_is_an_object_with_its_node_whoever_writes_it():
    text = logged(
        r"""
logging.info("serving", extra={"epoch": 3, "step": 7})
for number in range(200):
    os.write(2, b"E1126 23:19:59.%06d   26807 ssl.cc:2563] Handshake failed\n" % number)
os.write(2, b"free(): invalid pointer\n")
print(hostile, "of Python", file=sys.stderr)
def fail(): raise ValueError("in a thread")
thread = threading.Thread(target=fail); thread.start(); thread.join()
try: fail()
except ValueError: logging.exception("failed")
sys.stderr.write("without an end")
""",
        form="json",
    )
    lines = [json.loads(line) for line in text.splitlines()]
    assert steering(text) == [] and {line["node"] for line in lines} == {"pi2"}
    serving = next(line for line in lines if line["message"] == "serving")
    assert (serving["epoch"], serving["step"], serving["level"]) == (3, 7, "info")
    of_grpc = [line for line in lines if line["logger"] == "grpc"]
    assert [line["level"] for line in of_grpc] == ["error"] * 3
    assert of_grpc[0]["message"] == "ssl.cc:2563] Handshake failed"
    others = [line["message"] for line in lines if line["logger"] == "stderr"]
    assert "free(): invalid pointer" in others and "without an end" in others
    assert f"{HOSTILE} of Python" in others and "ValueError: in a thread" in others
    failed = next(line for line in lines if line["message"] == "failed")
    assert (failed["error"], failed["reason"]) == ("ValueError", "in a thread")


def test_in_json_a_flood_is_counted_too():
    text = logged(FLOOD, window_s=3, form="json")
    lines = [json.loads(line) for line in text.splitlines()]
    assert len(lines) == 4 and lines[-1]["message"].startswith("4997 more lines in 3 s like: ")
