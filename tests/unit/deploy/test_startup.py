"""What the command imports before it does anything: little, and nothing that it does not need."""

import importlib
import importlib.metadata
import os
import pkgutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import click
import pytest

import pi_cluster.deploy.commands
from pi_cluster.cluster.version import VERSION
from pi_cluster.deploy.command_table import COMMANDS
from pi_cluster.deploy.lazy_group import LazyGroup, Place

HEAVY = {
    *("cryptography", "google.protobuf", "grpc", "ifaddr", "jinja2", "numpy", "packaging"),
    *("psutil", "rich", "safetensors", "sentencepiece", "tiktoken", "tokenizers", "zeroconf"),
    # Of Python's own, and costly on a Pi.
    *("asyncio", "concurrent.futures", "email", "importlib.metadata", "json", "logging"),
    *("multiprocessing", "tomllib", "urllib.request", "zipfile"),
}
# All of our own that the frame is made of; the rest is what commands bring.
FRAME = {
    *("pi_cluster", "pi_cluster.cluster", "pi_cluster.deploy", "pi_cluster.deploy.screen"),
    *(f"pi_cluster.cluster.{name}" for name in ("errors", "settings", "shown")),
    *(f"pi_cluster.cluster.{name}" for name in ("system_failure", "version")),
    *(f"pi_cluster.deploy.{name}" for name in ("__main__", "cli", "command_table", "lazy_group")),
    *(f"pi_cluster.deploy.screen.{name}" for name in ("guarded_stream", "standard_streams")),
}
# As the script of the command does it, and then tells what was imported.
RUN = """
import sys
before = set(sys.modules)
from pi_cluster.deploy.__main__ import main
try:
    main()
finally:
    print("imported", *sorted(set(sys.modules) - before), file=sys.stderr)
"""
# The same, but Ctrl-C comes at the moment that a module is looked for.
INTERRUPTED = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell in the background ignores it
module = sys.argv.pop(1)
class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == module:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupting())
from pi_cluster.deploy.__main__ import main
main()
"""


# Imports a command, or what is no command, and tells what the garbage collector did meanwhile.
COLLECTED = """
import contextlib, gc, sys
from pi_cluster.deploy.lazy_group import Place
rounds = []
gc.collect()  # or what came before would count
gc.callbacks.append(lambda phase, info: rounds.append(phase))
with contextlib.suppress(ModuleNotFoundError):
    Place(sys.argv[1], "").find()
collected = len(rounds)
print(collected, gc.isenabled(), gc.get_freeze_count() > 0)
"""
# What a program finds in the environment that it leaves behind.
AT_EXIT = """
import atexit, os, sys
atexit.register(lambda: print("gRPC is", os.environ.get("GRPC_VERBOSITY"), file=sys.stderr))
"""
SCRIPT = str(Path(sys.executable).with_name("pi-cluster"))
PYTHON = sys.executable


def run(program: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program, *words], capture_output=True, text=True, timeout=60
    )


def imported(done: subprocess.CompletedProcess[str]) -> set[str]:
    told = done.stderr.splitlines()[-1].split()
    assert told[0] == "imported", done
    return set(told[1:])


def places(
    group: Mapping[str, Place | LazyGroup], above: str = ""
) -> Iterator[tuple[str, Place | LazyGroup]]:
    for name, place in group.items():
        yield above + name, place
        if isinstance(place, LazyGroup):
            yield from places(place.places, f"{name} ")


PLACES = dict(places(COMMANDS))


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--version"], 0),
        (["--help"], 0),
        ([], 2),
        (["nonsense"], 2),
        *(([name, "--help"], 0) for name, place in PLACES.items() if isinstance(place, LazyGroup)),
    ],
)
def test_help_and_version_import_the_frame_alone(words, code):
    done = run(RUN, *words)
    modules = imported(done)
    assert done.returncode == code, done
    assert modules & HEAVY == set()
    assert {name for name in modules if name.startswith("pi_cluster")} == FRAME


@pytest.mark.parametrize("name", PLACES)
def test_the_table_says_of_a_command_what_its_own_help_says(name):
    place = PLACES[name]
    if isinstance(place, Place):
        command = place.find()
        assert command.name == name.split()[-1]
        assert command.get_short_help_str(limit=1_000) == place.summary


def test_the_table_has_every_command_that_is_written():
    written = {"worker"}
    for module in pkgutil.iter_modules(pi_cluster.deploy.commands.__path__):
        found = importlib.import_module(f"pi_cluster.deploy.commands.{module.name}")
        own = [value for value in vars(found).values() if isinstance(value, click.Command)]
        written |= {command.callback.__qualname__ for command in own if command.callback}
    targets = [place.target for place in PLACES.values() if isinstance(place, Place)]
    assert {target.partition(":")[2] for target in targets} == written


def test_a_command_that_is_misspelt_is_guessed_from_the_table():
    done = run(RUN, "stauts")
    assert "No such command 'stauts'" in done.stderr and "'status'" in done.stderr


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("click", ["--version"]),
        ("pi_cluster.deploy.screen.standard_streams", ["--version"]),
        ("pi_cluster.deploy.commands.status", ["status"]),
        ("grpc", ["status"]),
        ("numpy", ["prompt", "Hello"]),
        ("rich.console", ["prompt", "Hello"]),
        ("cryptography", ["init"]),
    ],
)
def test_ctrl_c_while_a_command_is_imported_ends_it_with_a_word(module, words):
    done = run(INTERRUPTED, module, *words)
    assert (done.returncode, done.stdout, done.stderr.strip()) == (130, "", "interrupted")


def test_ctrl_c_before_there_is_a_standard_error_ends_it_all_the_same():
    program = f"import os, sys; os.close(2); sys.stderr = None\n{INTERRUPTED}"
    done = run(program, "click", "--version")
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


@pytest.mark.parametrize("module", ["click", "grpc", "pi_cluster.kernels"])
def test_ctrl_c_while_a_worker_is_imported_ends_it_with_a_word(module):
    done = run(INTERRUPTED.replace("deploy", "worker"), module, "--help")
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted\n")


@pytest.mark.parametrize(
    ("words", "is_quiet"),
    [
        ([SCRIPT, "worker"], False),
        ([PYTHON, "-P", "-m", "pi_cluster.worker"], False),
        ([PYTHON, "-m", "pi_cluster.deploy", "worker"], False),
        ([SCRIPT, "join"], False),
        ([SCRIPT, "--debug", "status"], False),
        ([SCRIPT, "status"], True),
        ([PYTHON, "-m", "pi_cluster.deploy", "status"], True),
    ],
)
def test_grpc_logs_for_workers_however_they_are_started(words, is_quiet, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(AT_EXIT)
    env = {name: value for name, value in os.environ.items() if name != "GRPC_VERBOSITY"}
    env["PYTHONPATH"] = str(tmp_path)
    done = subprocess.run([*words, "--help"], env=env, capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith("Usage: ") and done.returncode == 0, done
    assert done.stderr == f"gRPC is {'NONE' if is_quiet else None}\n"


@pytest.mark.parametrize(
    ("name", "needless"),
    [
        (
            "status",
            {
                *("numpy", "jinja2", "sentencepiece", "cryptography", "zeroconf", "psutil"),
                *("packaging", "safetensors", "pi_cluster.kernels", "pi_cluster.shard_tool"),
                *("pi_cluster.deploy.hosts", "pi_cluster.coordinator.scheduling"),
            },
        ),
        (
            "prompt",
            {
                *("cryptography", "zeroconf", "psutil", "packaging", "safetensors"),
                *("sentencepiece", "tiktoken", "tokenizers"),
                *("pi_cluster.shard_tool", "pi_cluster.deploy.hosts", "pi_cluster.storyteller"),
            },
        ),
    ],
)
def test_a_command_imports_nothing_that_it_has_no_use_for(name, needless):
    done = run(f"import sys, {PLACES[name].target.partition(':')[0]}; print(*sys.modules)")
    assert done.returncode == 0, done
    assert set(done.stdout.split()) & needless == set()


@pytest.mark.parametrize(
    ("target", "is_kept"),
    [(COMMANDS["prompt"].target, True), ("pi_cluster.deploy.commands.nonsense:nonsense", False)],
)
def test_nobody_looks_for_garbage_in_a_command_that_is_being_imported(target, is_kept):
    done = run(COLLECTED, target)
    assert (done.stdout, done.stderr) == (f"0 True {is_kept}\n", "")


def test_the_version_is_that_of_what_is_installed():
    assert importlib.metadata.version("pi-cluster") == VERSION
    assert run(RUN, "--version").stdout == f"pi-cluster, version {VERSION}{os.linesep}"
