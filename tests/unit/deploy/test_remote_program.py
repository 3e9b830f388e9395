"""The program that is sent to hosts: what it may use, and what it refuses."""

import ast
import fcntl
import io
import os
import stat
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from pi_cluster.cluster import settings
from pi_cluster.cluster.errors import StateError
from pi_cluster.coordinator.records import known_hosts
from pi_cluster.coordinator.records.pipeline_record import RECORD_NAME
from pi_cluster.deploy.hosts import remote
from pi_cluster.deploy.hosts.answers import HostFacts
from pi_cluster.deploy.hosts.remote import (
    MODULES,
    environments,
    files,
    framing,
    host_facts,
    layout,
    worker_service,
)
from pi_cluster.deploy.hosts.remote_host import _LOADER, _STUB, _modules
from tests.support.machines import pc, pi_4, pi_5, write_files

OURS = remote.__name__ + "."
FOLDER = Path(layout.__file__).parent
SOURCES = {path.stem: path.read_text() for path in FOLDER.glob("*.py") if path.stem != "__init__"}


def imported(source):
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_every_module_is_sent_after_those_that_it_imports():
    assert set(MODULES) == set(SOURCES)
    for number, name in enumerate(MODULES):
        names = imported(SOURCES[name])
        ours = {one.removeprefix(OURS).split(".")[0] for one in names if one.startswith(OURS)}
        assert ours <= set(MODULES[:number])


@pytest.mark.parametrize("name", MODULES)
def test_it_is_python_3_7_and_needs_the_standard_library_alone(name):
    ast.parse(SOURCES[name], feature_version=(3, 7))
    assert "from __future__ import annotations" in SOURCES[name]
    for module in imported(SOURCES[name]):
        top = module.split(".")[0]
        assert top in sys.stdlib_module_names or module.startswith(OURS)


def conversation(*questions):
    """What the program answers when it is started as on a host, by a shell's python3."""
    sent = io.BytesIO()
    for part in (_LOADER.encode(), _modules()):
        sent.write(b"%d\n%b" % (len(part), part))
    for question in questions:
        framing.send(sent, question)
    done = subprocess.run(
        [sys.executable, "-I", "-c", _STUB], input=sent.getvalue(), capture_output=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    answers = io.BytesIO(done.stdout)
    said = [framing.receive(answers) for _ in range(1 + len(questions))]
    assert answers.read() == b""
    assert "hello" in said[0]
    return said[1:]


def test_it_starts_from_a_pipe_and_tells_facts():
    words = {"cluster": "default", "data_parent": "/var/lib/pi-cluster"}
    (answer,) = conversation({"do": "facts", "with": words})
    facts = HostFacts.of("here", answer["done"])
    assert facts.pointer_bits == 64
    assert facts.python == sys.version_info[:3]
    assert facts.disks["data"].free_bytes > 0


@pytest.fixture
def vcgencmd(tmp_path, monkeypatch):
    """Returns what puts a program of that name before all others."""

    def make(text, mode=0o755):
        script = tmp_path / "bin" / "vcgencmd"
        script.parent.mkdir(exist_ok=True)
        script.write_text(text)
        script.chmod(mode)
        monkeypatch.setenv("PATH", str(script.parent), prepend=":")

    return make


FACTS = {"do": "facts", "with": {"cluster": "default", "data_parent": "/var/lib/pi-cluster"}}


@pytest.mark.parametrize(
    "text",
    [
        "#!/bin/sh\nexec sleep 600\n",
        "#!/bin/sh\necho throttled=0x50005; exec sleep 600\n",
        "#!/no/such/interpreter\n",
        "neither a script nor a program",
        "#!/bin/sh\necho VCHI initialization failed; exit 255\n",
        "#!/bin/sh\necho throttled=0x\n",
        "#!/bin/sh\necho throttled=0xfffffffff\n",
    ],
)
def test_a_vcgencmd_that_hangs_or_fails_costs_no_other_fact(vcgencmd, text):
    vcgencmd(text)
    (answer,) = conversation(FACTS)
    assert answer["done"]["throttled"] is None
    assert answer["done"]["pointer_bits"] == 64


def test_where_no_file_shows_the_flags_vcgencmd_is_asked(vcgencmd, tmp_path):
    vcgencmd("#!/bin/sh\necho throttled=0x50005\n")
    assert host_facts.throttled(tmp_path) == 0x50005
    unreadable = "sys/devices/platform/soc/soc:firmware/get_throttled/"
    assert host_facts.throttled(write_files(tmp_path, {unreadable: ""})) == 0x50005


@pytest.mark.parametrize(("machine", "flags"), [(pi_4, 0x50005), (pi_5, 0), (pc, None)])
def test_the_flags_are_found_on_each_pi_without_a_program(tmp_path, machine, flags):
    assert host_facts.throttled(machine(tmp_path)) == flags


def test_a_command_that_hangs_is_ended_in_time():
    with pytest.raises(layout.Failure, match=r"`sleep 600` has not ended in 0\.1 s"):
        layout.run(["sleep", "600"], timeout_s=0.1)


def test_a_journal_that_cannot_be_read_is_a_line_that_says_so(vcgencmd, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert worker_service.journal("default") == ["there is no `journalctl` on this host"]


@pytest.fixture
def stranger():
    """Become a user who may not look everywhere, for as long as the test runs."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    yield
    os.seteuid(0)


def test_what_a_broken_off_installation_locked_away_is_no_obstacle(tmp_path, monkeypatch, request):
    programs, data = tmp_path / "opt", tmp_path / "srv"
    for folder in (programs / "default", data / "default"):
        folder.mkdir(parents=True)
    for folder in (programs, data):
        folder.chmod(0)
    for folder in (tmp_path, *list(tmp_path.parents)[:2]):
        folder.chmod(0o755)
    monkeypatch.setattr(layout, "PROGRAMS", programs)
    request.getfixturevalue("stranger")
    facts = host_facts.facts("default", str(data))
    assert facts["installed"]["environment"] == ""
    assert facts["disks"]["data"]["free_bytes"] > 0


@pytest.mark.parametrize(
    ("cluster", "parent"),
    [
        ("../etc", "/var/lib"),
        ("a/b", "/var/lib"),
        ("", "/var/lib"),
        ("a", "/var/../etc"),
        ("a", "x"),
    ],
)
def test_names_that_would_lead_elsewhere_are_refused(cluster, parent):
    question = {"do": "facts", "with": {"cluster": cluster, "data_parent": parent}}
    (answer,) = conversation(question)
    assert "is no name that this program would use" in answer["failure"]


def test_a_wheel_that_arrives_changed_is_not_kept_and_the_next_message_is_found(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(layout, "WHEELS", tmp_path)
    wheel = {"name": "a-1-py3-none-any.whl", "sha256": "0" * 64}
    pipe = io.BytesIO(b"not that" + b"next")
    with pytest.raises(layout.Failure, match="arrived changed"):
        environments.keep(wheel, pipe, 8)
    assert pipe.read() == b"next"
    assert environments.lacking([wheel]) == [wheel["sha256"]]
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_file_that_is_broken_off_leaves_the_one_before(tmp_path):
    path = tmp_path / "file"
    files.write(path, b"before")
    with pytest.raises(KeyboardInterrupt), files.written(path) as file:
        file.write(b"half")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"before"
    files.write(path, b"after")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert path.read_bytes() == b"after"


def test_the_lock_lies_where_nobody_else_can_make_it_first():
    # Of the folders above it, none may be open to all as /run/lock is.
    for folder in layout.LOCKS.parents:
        assert not folder.stat().st_mode & stat.S_IWOTH, folder


def test_a_lock_is_made_once_and_held_by_one(tmp_path):
    one, two = (files.open_own(tmp_path / "locks", "setup.lock") for _ in range(2))
    assert (tmp_path / "locks").stat().st_mode & 0o777 == 0o700
    fcntl.flock(one, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with pytest.raises(BlockingIOError):
        fcntl.flock(two, fcntl.LOCK_EX | fcntl.LOCK_NB)
    for descriptor in (one, two):
        os.close(descriptor)


def test_a_lock_that_somebody_else_prepared_is_refused(tmp_path):
    locks, elsewhere = tmp_path / "locks", tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    locks.symlink_to(elsewhere)
    with pytest.raises(OSError, match="locks"):
        files.open_own(locks, "setup.lock")
    locks.unlink()
    locks.mkdir()
    locks.chmod(0o777)
    with pytest.raises(PermissionError, match=r"other users can change it.*locks"):
        files.open_own(locks, "setup.lock")
    locks.chmod(0o700)
    (elsewhere / "shadow").write_text("precious")
    (locks / "setup.lock").symlink_to(elsewhere / "shadow")
    with pytest.raises(OSError, match=r"setup\.lock"):
        files.open_own(locks, "setup.lock")
    (locks / "setup.lock").unlink()
    (locks / "setup.lock").touch(0o666)
    (locks / "setup.lock").chmod(0o666)
    with pytest.raises(PermissionError, match=r"setup\.lock"):
        files.open_own(locks, "setup.lock")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0\0",
        struct.pack(">I", 1 << 31),
        struct.pack(">I", 4) + b"null",
        struct.pack(">I", 4) + b"nope",
        struct.pack(">I", 13) + b'{"bytes": -1}',
        struct.pack(">I", 15) + b'{"bytes": true}',
        struct.pack(">I", 20) + b'{"bytes": 999999999}',
    ],
)
def test_what_is_no_message_ends_the_conversation(data):
    with pytest.raises(framing.Ended):
        framing.receive(io.BytesIO(data))


def test_a_message_comes_back_as_it_was_sent():
    pipe = io.BytesIO()
    framing.send(pipe, {"do": "x", "with": {"ä": [1]}, "bytes": 3})
    pipe.seek(0)
    assert framing.receive(pipe) == {"do": "x", "with": {"ä": [1]}, "bytes": 3}


def test_what_the_program_cannot_import_it_knows_as_the_package_does(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for variable in ("XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    ours = layout.UserFolders(settings.cluster_config("a1"), settings.cluster_state("a1"))
    assert layout.user_folders("a1") == ours
    assert str(layout.DEFAULT_DATA) == known_hosts.DEFAULT_DATA_DIR
    assert layout.file_name(RECORD_NAME) == RECORD_NAME


@pytest.mark.parametrize("name", ["a", "A-1_b", "a" * 32, "a" * 33, "", "-a", "a b", "a/b", "a\n"])
def test_the_program_takes_the_names_of_clusters_that_the_package_takes(name):
    try:
        settings.check_cluster_name(name)
    except StateError:
        with pytest.raises(layout.Failure):
            layout.unit_name(name)
        assert layout.cluster_of_unit(f"pi-cluster-{name}.service") is None
    else:
        assert layout.cluster_of_unit(layout.unit_name(name)) == name


@pytest.mark.parametrize("name", ["../pipeline.json", "pipeline", ".json", "a/b.json", "", 7])
def test_only_a_plain_name_is_one_of_a_record(name):
    with pytest.raises(layout.Failure, match="is no name that this program would use"):
        layout.file_name(name)
