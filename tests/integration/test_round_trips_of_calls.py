"""What a tool call costs a pipeline, as the benchmark counts it on real workers."""

import json
import subprocess
import sys

from tests.support.own_sources import ROOT


def test_what_is_forced_or_guessed_right_of_a_call_of_38_ids_is_not_waited_for():
    counting = [sys.executable, "-m", "benchmarks.forced_ids", "--workers", "2"]
    done = subprocess.run(counting, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    ways = json.loads(done.stdout.splitlines()[-1])["ways"]
    assert {way["ids"] for way in ways.values()} == {38}
    assert ways["one by one"]["round_trips"] == 38
    forced = ways["forced ids"]
    assert forced["forced"] > 0 and forced["round_trips"] == 38 - forced["forced"]
    # How many guesses go along depends on how fast stages are: test_calls.py holds the bound.
    assert ways["forced ids and guesses"]["round_trips"] <= forced["round_trips"]
