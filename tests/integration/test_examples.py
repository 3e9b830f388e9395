"""The programs of `examples/`, run as people run them against a real server."""

import os
import subprocess
import sys

from tests.support.own_sources import ROOT
from tests.support.servers import serving


def run(name, server, *words):
    """One of them, to its end."""
    env = os.environ | {"OPENAI_BASE_URL": f"{server.url}/v1", "OPENAI_API_KEY": "none"}
    return subprocess.run(
        [sys.executable, ROOT / "examples" / name, *words],
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_what_a_question_is_about_is_found_in_documents_and_named(make_cluster):
    with make_cluster() as cluster:
        cluster.up("--local", "1", "--texts", "8")
        with serving(cluster, "--embeddings", "mean") as server:
            done = run("answer_from_documents.py", server, "Where does the fox live?")
            empty = run("answer_from_documents.py", server, "Where?", "--folder", cluster.folder)
    assert done.returncode == 0, done.stderr
    *answer, read = done.stdout.splitlines()
    assert answer and read.startswith("read: ") and read.endswith(".txt")
    assert empty.returncode == 1 and "has no texts" in empty.stderr


def test_a_model_has_functions_called_and_says_something_in_the_end(served_story):
    done = run("functions.py", served_story, "Is the lamp in the kitchen on?")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
