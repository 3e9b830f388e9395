"""The rule of imports: they point down, from room to room too; each foreign thing has one door."""

import ast
import collections
import graphlib
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.own_sources import (
    FILES,
    INSTALLED,
    ROOT,
    WRITTEN,
    imports_of,
    modules_named_by,
    tree_of,
)

# What each package may import of ours beside itself.
ALLOWED = {
    # The door for programs, which imports what stands behind it when it is used.
    "python_api": {"transformer", "cluster", "coordinator"},
    "protos": set(),
    "kernels": set(),
    "storyteller": set(),
    "transformer": {"kernels"},
    "cluster": {"protos"},
    "shard_tool": {"kernels", "transformer", "cluster", "protos"},
    "worker": {"kernels", "transformer", "cluster", "protos"},
    # Gets logits from workers and computes none.
    "coordinator": {"transformer", "cluster", "protos"},
    "server": {"transformer", "cluster", "coordinator"},
    "deploy": {
        *("kernels", "transformer", "cluster", "protos", "storyteller"),
        *("shard_tool", "worker", "coordinator", "server"),
    },
    # Measures what is installed, from outside.
    "benchmarks": {
        *("kernels", "transformer", "cluster", "protos", "storyteller"),
        *("shard_tool", "worker", "coordinator", "server", "deploy"),
        "tests",  # the test bed's networks, and nothing else of it
    },
    # Writes down what the commands say of themselves.
    "docs": {"deploy"},
}
# The folders within a package, and which of their neighbours each may import.
ROOMS = {
    "cluster": {
        "store": set(),
        "trust": {"store"},
        "wire": {"store", "trust"},
        "discovery": {"wire"},
    },
    "transformer": {"families": set(), "text": set()},
    "shard_tool": {"gguf": set(), "sources": {"gguf"}, "importance": {"gguf", "sources"}},
    "worker": {
        "machine": set(),
        "shards": {"machine"},
        "stage": {"machine", "shards"},
        "trust": set(),
    },
    "coordinator": {
        "planning": set(),
        "drafting": set(),
        "scheduling": {"drafting"},
        "constraining": set(),
        "bench": {"scheduling"},
        "evaluating": {"asking"},
        "records": {"planning", "scheduling"},
        "keeping": {"records"},
        "pipeline": {"planning", "records"},
        "calling": {"constraining"},
        "healing": {"pipeline", "planning", "records"},
        "asking": {
            *("calling", "constraining", "drafting", "healing", "records", "scheduling"),
        },
    },
    "server": {
        "asking": set(),
        "http": {"asking"},
        "native": {"asking", "http"},
        "ollama": {"asking", "http"},
        "openai": {"asking", "http"},
        "page": set(),
    },
    "deploy": {
        "screen": set(),
        "asking": {"drafting", "screen"},
        "wheels": set(),
        "membership": {"screen"},
        "models": {"screen"},
        "evaluating": set(),
        "drafting": {"models", "screen"},
        "doctor": {"asking", "screen"},
        "hosts": {"doctor", "membership", "screen", "wheels"},
        "commands": {
            *("asking", "doctor", "drafting", "evaluating", "hosts", "membership", "models"),
            "screen",
        },
    },
}
ROOMS_LISTED = {f"{package}/{room}" for package, rooms in ROOMS.items() for room in rooms}
# What a file imports within functions, and why not at its top. Each is either for what it does when
# it is imported, or spares most runs something heavy that the file does not load in other ways.
IMPORTS_WITHIN_FUNCTIONS = {
    # It takes over the keyboard: only a chat at a terminal wants that.
    ("deploy/commands/chat.py", "readline"),
    # Ctrl-C ends with a word, not a traceback, also while the command is being imported.
    ("deploy/__main__.py", "pi_cluster.deploy.cli"),
    ("worker/__main__.py", "pi_cluster.worker.cli"),
    # `--help` and `--version` print without rich, and log nothing.
    ("deploy/cli.py", "logging"),
    ("deploy/cli.py", "pi_cluster.deploy.failure.tell"),
    ("deploy/cli.py", "pi_cluster.deploy.screen.output.INTERRUPTED"),
    ("deploy/cli.py", "pi_cluster.deploy.screen.output.notes"),
    # Most errors are of other kinds, and few commands compute.
    ("deploy/failure.py", "pi_cluster.kernels.KernelsError"),
    # Whoever asks a server needs nothing that asks nodes, and few questions fail.
    ("deploy/asking/choice.py", "pi_cluster.deploy.asking.nodes.NodesAsker"),
    ("deploy/leading_out.py", "pi_cluster.deploy.way_out.add_way_out"),
    # Most pipelines have no draft model, and who asks nodes computes nothing else.
    ("deploy/drafting/in_use.py", "pi_cluster.deploy.drafting.opening.open_draft"),
    ("deploy/commands/serve.py", "pi_cluster.deploy.drafting.choosing.GivenDraft"),
    # An extra, which only `pull` takes.
    ("deploy/models/pulling.py", "pi_cluster.deploy.models.hub.Hub"),
    # An extra, and few answers follow a schema.
    (
        "coordinator/constraining/building.py",
        "pi_cluster.coordinator.constraining.llguidance_constraint.Vocabulary",
    ),
    # Few questions lose a node, and what mends that can do all that `up` does.
    ("coordinator/healing/healer.py", "pi_cluster.coordinator.healing.mending.Means"),
    ("coordinator/healing/healer.py", "pi_cluster.coordinator.healing.mending.Mending"),
    ("coordinator/asking/hold.py", "pi_cluster.coordinator.healing.following.Later"),
    ("coordinator/asking/hold.py", "pi_cluster.coordinator.healing.following.follow"),
    ("coordinator/client.py", "pi_cluster.coordinator.healing.taking_in.TakingIn"),
    # Nodes are looked for when one is lost.
    ("cluster/discovery/rediscovery.py", "pi_cluster.cluster.discovery.mdns"),
    # A cluster on one machine has no certificates, and most that have some have no key to sign.
    ("cluster/wire/dialing.py", "pi_cluster.cluster.wire.handshake.shown_certificate"),
    (
        "coordinator/records/access.py",
        "pi_cluster.coordinator.records.certified_access.secure_dialer",
    ),
    ("coordinator/records/advice.py", "pi_cluster.cluster.trust.authority.ClusterAuthority"),
    (
        "coordinator/pipeline/asker.py",
        "pi_cluster.cluster.trust.authority.ClusterAuthority",
    ),
    ("coordinator/pipeline/asker.py", "pi_cluster.coordinator.pipeline.renewal.renew_due"),
    # Each kind of tokenizer has a library of its own, and a model one kind.
    *(
        ("transformer/text/loading.py", f"pi_cluster.transformer.text.{name}")
        for name in (
            *("bpe_encoder.BpeEncoder", "bpe_file.BpeFile", "tekken_encoder.TekkenEncoder"),
            "sentencepiece_tokenizer.SentencePieceTokenizer",
        )
    ),
    # Who looks at a pipeline asks it nothing, and needs neither its text nor its arithmetic.
    (
        "coordinator/records/pipeline_record.py",
        "pi_cluster.coordinator.scheduling.cache_limits.CacheLimits",
    ),
    (
        "coordinator/records/pipeline_record.py",
        "pi_cluster.coordinator.text_model.TextModel",
    ),
    ("coordinator/records/pipeline_record.py", "pi_cluster.transformer.config_form.read_config"),
}
FILES_THAT_READ_THE_ENVIRONMENT = {
    "cluster/settings.py",
    "deploy/supervisor.py",  # runs alone, and hands its own on to the worker
    "deploy/hosts/remote/host_facts.py",  # runs on hosts, alone: SSH tells there where it came
}
FILES_THAT_SPEAK_MDNS = {"cluster/discovery/mdns.py"}
NAMELESS = {"utils", "util", "helpers", "helper", "misc", "common"}


def files_importing(module: str, files: list[str]) -> set[str]:
    return {
        file for file in files for name in imports_of(file) if (name + ".").startswith(module + ".")
    }


def place_of(path: str) -> str:
    """The room of a file or module in its package, or the file itself where it lies beside them."""
    return "/".join(path.removesuffix(".py").split("/")[:2])


PLACES = {place_of(file) for file in FILES}


def neighbours_of(file: str) -> set[str]:
    """The other places of its own package that a file imports from."""
    package = file.split("/")[0]
    named = {name.replace(".", "/") for name in imports_of(file) if name.startswith(package + ".")}
    places = {
        place if (place := place_of(name)) in PLACES else f"{package}/__init__" for name in named
    }
    return places - {place_of(file)}


def imports_within_functions(file: str) -> Iterator[tuple[str, str]]:
    for function in ast.walk(tree_of(file)):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            for node in ast.walk(function):
                yield from ((file, name) for name in modules_named_by(node, file))


def module_of(name: str) -> str:
    """The module that an import of ``name`` loads: that itself, or what it is in."""
    parent, _, _ = name.rpartition(".")
    is_module = f"{name.removeprefix('pi_cluster.').replace('.', '/')}.py" in FILES
    return name if is_module or not parent else parent


def test_the_files_that_the_rule_is_about_are_found():
    assert {"transformer/stage.py", "deploy/commands/up.py", "protos/pi_cluster_pb2.py"} <= set(
        FILES
    )
    assert len(FILES) > 60


def test_every_folder_with_code_has_its_place_in_the_rule():
    assert {file.split("/")[0] for file in FILES} <= ALLOWED.keys()


@pytest.mark.parametrize("file", WRITTEN)
def test_imports_point_down(file):
    package = file.split("/")[0]
    ours = {name.split(".")[0] for name in imports_of(file)} & (ALLOWED.keys() | {"tests"})
    assert ours <= ALLOWED[package] | {package}


@pytest.mark.parametrize("file", [file for file in WRITTEN if place_of(file) in ROOMS_LISTED])
def test_imports_point_down_from_room_to_room(file):
    package, room = Path(file).parts[:2]
    into = {Path(place).name for place in neighbours_of(file) & ROOMS_LISTED}
    assert into <= ROOMS[package][room]


def test_every_room_has_its_place_in_the_rule():
    folders = {place_of(file) for file in INSTALLED if file.count("/") > 1}
    assert folders - {"python_api/pi_cluster"} == ROOMS_LISTED  # which has no neighbours


def test_the_rooms_and_their_arrows_are_those_that_are_documented():
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)/(\w+)/` \| [^|]+ \| ([^|]*)\|$", text, re.MULTILINE)
    documented: dict[str, dict[str, set[str]]] = collections.defaultdict(dict)
    for package, room, imports in rows:
        documented[package][room] = set(re.findall(r"`(\w+)`", imports))
    assert documented == ROOMS


def test_no_circle_leads_through_rooms_and_the_files_beside_them():
    graph = collections.defaultdict(set)
    for file in INSTALLED:
        graph[place_of(file)] |= neighbours_of(file)
    graphlib.TopologicalSorter(graph).prepare()  # raises, naming the circle


def test_nothing_imports_back_up_along_any_chain():
    for package in ALLOWED:
        reached, further = set(), ALLOWED[package]
        while further:
            reached |= further
            further = set().union(*(ALLOWED.get(lower, set()) for lower in further)) - reached
        assert package not in reached


def test_the_arithmetic_knows_of_no_network():
    files = [file for file in WRITTEN if file.startswith("transformer/")]
    for module in ("grpc", "google", "socket", "asyncio", "http", "urllib", "zeroconf"):
        assert files_importing(module, files) == set()


def test_benchmarks_use_the_networks_of_the_test_bed_and_nothing_else_of_the_tests():
    files = [file for file in WRITTEN if file.startswith("benchmarks/")]
    used = {name for file in files for name in imports_of(file) if name.startswith("tests.")}
    assert used and all(name.startswith("tests.testbed.network.") for name in used)


def test_only_discovery_speaks_mdns():
    assert files_importing("zeroconf", WRITTEN) == FILES_THAT_SPEAK_MDNS


def test_there_is_one_console_and_it_knows_no_markup():
    assert files_importing("rich.console.Console", INSTALLED) == {"deploy/screen/console.py"}
    assert files_importing("rich.markup", INSTALLED) == set()
    for file in INSTALLED:
        for node in ast.walk(tree_of(file)):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("TextColumn"):
                assert "markup=False" in ast.unparse(node), f"{file}:{node.lineno}"


def test_only_settings_read_the_environment():
    def touches(file: str) -> bool:
        names = ("environ", "environb", "getenv", "getenvb", "putenv", "unsetenv")
        used = {node.attr for node in ast.walk(tree_of(file)) if isinstance(node, ast.Attribute)}
        named = {name.rpartition(".")[2] for name in imports_of(file) if name.startswith("os.")}
        return bool((used | named) & set(names))

    assert {file for file in INSTALLED if touches(file)} == FILES_THAT_READ_THE_ENVIRONMENT


def test_imports_stand_at_the_top_except_for_those_that_have_a_reason():
    within = {found for file in INSTALLED for found in imports_within_functions(file)}
    assert within == IMPORTS_WITHIN_FUNCTIONS


@pytest.mark.parametrize("file", sorted({file for file, _ in IMPORTS_WITHIN_FUNCTIONS}))
def test_what_is_imported_within_a_function_is_not_loaded_in_another_way(file):
    spared = {module_of(name) for one, name in IMPORTS_WITHIN_FUNCTIONS if one == file}
    program = "import importlib, sys; importlib.import_module(sys.argv[1]); print(*sys.modules)"
    module = "pi_cluster." + file.removesuffix(".py").replace("/", ".")
    done = subprocess.run(
        [sys.executable, "-c", program, module], capture_output=True, text=True, check=True
    )
    assert spared & set(done.stdout.split()) == set()


def test_nothing_is_imported_with_a_star():
    starred = {name for file in WRITTEN for name in imports_of(file) if name.endswith(".*")}
    assert starred == set()


def test_no_module_is_named_for_nothing_in_particular():
    assert not {part for file in FILES for part in Path(file).with_suffix("").parts} & NAMELESS


def test_the_wheel_holds_every_package_of_the_program_and_no_other():
    values = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wheel = values["tool"]["scikit-build"]["wheel"]
    places = {source.split("/")[0]: place for place, source in wheel["packages"].items()}
    assert {file.split("/")[0] for file in INSTALLED} == places.keys()
    named = {source: f"pi_cluster/{source}" for source in places} | {"python_api": "pi_cluster"}
    assert places == named
    excluded = [path for path in wheel["exclude"] if not path.startswith("**")]
    in_wheel = [
        file
        for file in FILES
        if file.split("/")[0] in places
        and not any(f"pi_cluster/{file}".startswith(path + "/") for path in excluded)
    ]
    assert in_wheel == INSTALLED


def test_foreign_imports_are_declared_dependencies():
    values = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    project = values["project"]
    extras = [text for extra in project["optional-dependencies"].values() for text in extra]
    declared = {
        text.partition(">")[0].replace("-", "_") for text in [*project["dependencies"], *extras]
    }
    distribution_of = {"grpc": "grpcio", "google": "protobuf"}
    imported = {name.split(".")[0] for file in INSTALLED for name in imports_of(file)}
    foreign = imported - ALLOWED.keys() - sys.stdlib_module_names
    assert {distribution_of.get(name, name) for name in foreign} == declared
