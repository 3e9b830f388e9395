"""Environments with the clients that people use, and a server for them."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pi_cluster import PipelineClient
from tests.support.asking import FOX
from tests.support.cluster_process import Cluster, processes_of
from tests.support.failing_first import failing_first
from tests.support.servers import serving

ROOT = Path(__file__).parents[2]
PROGRAMS = Path(__file__).with_name("programs")
ENVIRONMENTS = ROOT / "build" / "clients"
PACKAGES = {
    "openai-new": ("openai==3.57.0",),
    "openai-old": ("openai==2.29.0",),
    "frameworks": (
        *("langchain-openai==1.7.4", "litellm==1.110.2", "llm==0.32.1"),
        *("pydantic-ai-slim[openai]==2.31.1", "instructor==1.17.0"),
    ),
    "ollama": ("ollama==0.6.3", "langchain-ollama==1.1.0"),
    "schemathesis": ("schemathesis==4.32.5",),
}
TEXTS = ["A brave fox.", "Deep water and a lost kite"]
NODE_PACKAGES = ("openai@7.59.0", "ollama@0.6.4")
_INSTALLING_S, _RUNNING_S = 600, 120


def pytest_collection_modifyitems(items):
    """All that lies here installs foreign packages, which only `make test-clients` does.

    Whichever asks for an environment first waits for it beside its own program.
    """
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.clients)
            item.add_marker(pytest.mark.timeout(2 * _INSTALLING_S + _RUNNING_S))


@pytest.fixture(scope="session")
def served(served_with_vectors):
    """A server of the embedded model on two workers."""
    return served_with_vectors[0]


@pytest.fixture(scope="session")
def vectors(served_with_vectors):
    """The texts that programs are to make vectors of, as JSON, and whether those are right."""
    expected = served_with_vectors[1]
    texts = json.dumps(TEXTS)
    return texts, lambda told: np.array_equal(np.array(told, np.float32), expected)


@pytest.fixture(scope="session")
def served_with_vectors(tmp_path_factory):
    """That server, and the library's vectors."""
    folder = tmp_path_factory.mktemp("served")
    with Cluster(folder, folder / "cache") as cluster:
        cluster.up("--local", "2", "--texts", "8")
        with cluster.environment(), PipelineClient.connect(cluster.name) as client:
            vectors = client.embed(TEXTS, pooling="mean").vectors
        with serving(cluster, "--embeddings", "mean") as server:
            yield server, vectors
    assert not processes_of(folder)


@pytest.fixture(scope="session")
def said(served):
    """What the command answers to the question that all programs ask."""
    return served.cluster.prompt(FOX, "--temperature", "0", "--max-tokens", "16")["text"]


@pytest.fixture
def failing(served):
    """Its address behind a door that fails twice before it lets through."""
    with failing_first(served) as address:
        yield address


@pytest.fixture(scope="session")
def python_with():
    """Gives the bin folder of an environment with some of the packages, made once."""

    def made(name: str) -> Path:
        folder = ENVIRONMENTS / name
        stamp = folder / hashlib.sha256(repr(PACKAGES[name]).encode()).hexdigest()
        if not stamp.exists():
            shutil.rmtree(folder, ignore_errors=True)
            _run([sys.executable, "-m", "venv", folder], _INSTALLING_S)
            pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet"]
            _run([*pip, *PACKAGES[name]], _INSTALLING_S)
            stamp.touch()
        return folder / "bin"

    return made


@pytest.fixture(scope="session")
def node_program():
    """Gives the path of a program beside the packages that it imports, installed once."""
    folder = ENVIRONMENTS / "node"
    stamp = folder / hashlib.sha256(repr(NODE_PACKAGES).encode()).hexdigest()
    if not stamp.exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        _run(["npm", "install", "--silent", "--prefix", folder, *NODE_PACKAGES], _INSTALLING_S)
        stamp.touch()
    return lambda name: Path(shutil.copy(PROGRAMS / name, folder))


@pytest.fixture
def told_by(python_with, tmp_path):
    """What one of the programs printed."""

    def run(environment: str, program: str, *words: str) -> dict:
        python = python_with(environment) / "python"
        printed = _run([python, PROGRAMS / program, *words], _RUNNING_S, tmp_path)
        return json.loads(printed.splitlines()[-1])  # some print their advertisements before

    return run


@pytest.fixture
def run(tmp_path):
    """Runs any program to its end, which must be a good one; gives its output."""
    return lambda *words, **more: _run(words, _RUNNING_S, tmp_path, **more)


def _run(words, timeout_s, home=None, **variables) -> str:
    environment = {
        k: v for k, v in os.environ.items() if not k.startswith(("OPENAI_", "OLLAMA_", "PYTEST"))
    }
    if home:
        environment |= {"HOME": str(home), "XDG_CONFIG_HOME": str(home)}
    # What a client would fetch about models or send about its users has no place in a test.
    quiet = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "DO_NOT_TRACK": "1"}
    done = subprocess.run(
        [str(word) for word in words],
        cwd=home,  # some leave files where they are run
        env=environment | quiet | variables,
        capture_output=True,
        text=True,
        timeout=timeout_s,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout
