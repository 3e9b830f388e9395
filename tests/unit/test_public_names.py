"""What a program gets with ``import pi_cluster``, and what it does not."""

import ast
import json
import subprocess
import sys

import pi_cluster
from tests.support.own_sources import tree_of

NAMES = [
    *("AccessError", "Answer", "AnswerStream", "AsyncAnswerStream", "AsyncPipelineClient"),
    *("ClusterError", "FinishReason", "ModelError", "NodeLost", "PipelineBusy", "PipelineClient"),
    *("PipelineClosed", "PipelineStatus", "PromptError", "SettingsError", "StageStatus"),
    *("StateError", "Tool", "ToolCall", "as_they_come"),
]
HEAVY = ["grpc", "numpy", "google.protobuf", "rich", "zeroconf", "click", "cryptography", "psutil"]


def run(program):
    """What a program of its own prints, as JSON."""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_importing_the_package_imports_nothing_else_of_it_and_nothing_heavy():
    loaded = run("import json, sys, pi_cluster; dir(pi_cluster); print(json.dumps([*sys.modules]))")
    assert [name for name in loaded if name.startswith("pi_cluster")] == ["pi_cluster"]
    assert not set(HEAVY) & set(loaded)


def test_errors_are_caught_without_anything_heavy():
    loaded = run(
        "import json, sys; from pi_cluster import ClusterError, ModelError\n"
        "print(json.dumps([*sys.modules]))"
    )
    assert not set(HEAVY) & set(loaded)


def test_using_the_library_leaves_the_programs_environment_and_logging_alone():
    before, after, handlers = run(
        "import json, logging, os\n"
        "before = dict(os.environ)\n"
        "import pi_cluster\n"
        "for name in pi_cluster.__all__:\n"
        "    getattr(pi_cluster, name)\n"
        "print(json.dumps([before, dict(os.environ), len(logging.getLogger().handlers)]))"
    )
    assert (after, handlers) == (before, 0)


def test_the_public_names_are_these_and_each_is_there():
    assert pi_cluster.__all__ == NAMES
    assert set(NAMES) <= set(dir(pi_cluster))
    for name in NAMES:
        assert getattr(pi_cluster, name).__name__ == name


def test_type_checkers_see_the_same_names_in_the_same_places():
    told = {
        alias.name: node.module.removeprefix("pi_cluster.")
        for node in ast.walk(tree_of("python_api/pi_cluster/__init__.py"))
        if isinstance(node, ast.ImportFrom) and node.module.startswith("pi_cluster.")
        for alias in node.names
    }
    assert told == pi_cluster._PLACE_OF
    assert sorted(told) == NAMES


def test_a_name_that_is_not_there_is_an_attribute_error():
    assert not hasattr(pi_cluster, "PipelineServer")
