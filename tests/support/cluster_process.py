"""A cluster as people run it: the real command, folders of its own, all of it stopped at the end.

Nothing here sleeps to let something happen: it waits for output, for the end of a process, or
polls what a node tells, each with a deadline.
"""

import io
import json
import os
import secrets
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import psutil

from pi_cluster.cluster.wire.client import NodeClient
from pi_cluster.coordinator.records.kept_record import load_record
from pi_cluster.coordinator.records.pipeline_record import PipelineRecord
from pi_cluster.deploy.cli import run
from pi_cluster.deploy.known_local_workers import find_supervisor
from pi_cluster.protos import pi_cluster_pb2 as pb
from pi_cluster.worker.presence import find_presence
from tests.support.measured_nodes import remember_speed_by_hand, remember_speeds
from tests.support.worker_servers import PLAIN

COMMAND = Path(sys.executable).with_name("pi-cluster")

_WITHOUT_CLUSTER = (
    "models",
    "pull",
    "shard",
    "verify",
    "accept",
    "node-certificate",
    "--help",
    "--version",
)
_GROUPS = ("token", "node", "authority", "key")
_PATIENCE_S = 40.0
_POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a command left behind."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """Its standard output, which is one JSON value and nothing else."""
        assert self.code == 0, self
        return json.loads(self.out)


class Running:
    """A command that goes on while the test looks at it."""

    def __init__(self, words: list[str], env: dict[str, str], folder: Path) -> None:
        self._errors = folder / f"{secrets.token_hex(4)}.stderr"
        self._read = b""
        with self._errors.open("wb") as errors:
            self.process = subprocess.Popen(
                words, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors
            )
        assert self.process.stdin is not None and self.process.stdout is not None
        self.stdin, self._stdout = self.process.stdin, self.process.stdout

    @property
    def error_text(self) -> str:
        """Its standard error so far."""
        return self._errors.read_text()

    def read(self, count: int) -> str:
        """Standard output from its beginning, as soon as it has ``count`` bytes."""
        return self._read_until(lambda: len(self._read) >= count)

    def read_line(self, timeout_s: float = _PATIENCE_S) -> str:
        """The first line of standard output."""
        return self.read_lines(1, timeout_s)[0]

    def read_lines(self, count: int, timeout_s: float = _PATIENCE_S) -> list[str]:
        """The first lines of standard output."""
        text = self._read_until(lambda: self._read.count(b"\n") >= count, timeout_s)
        return text.split("\n")[:count]

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def end(self, timeout_s: float = _PATIENCE_S) -> Outcome:
        """Wait for its end."""
        deadline = time.monotonic() + timeout_s
        while self._more(deadline):
            pass
        code = self.process.wait(max(0.1, deadline - time.monotonic()))
        return Outcome(code, self._read.decode(errors="replace"), self.error_text)

    def stop(self) -> None:
        """End it at once, whatever it is doing."""
        self.process.kill()
        self.process.wait()
        self.stdin.close()
        self._stdout.close()

    def _read_until(self, enough: Callable[[], bool], timeout_s: float = _PATIENCE_S) -> str:
        deadline = time.monotonic() + timeout_s
        while not enough():
            assert self._more(deadline), f"it ended after {self._read!r}: {self.error_text}"
        return self._read.decode(errors="replace")

    def _more(self, deadline: float) -> bool:
        readable, _, _ = select.select([self._stdout], [], [], max(0, deadline - time.monotonic()))
        if not readable:
            raise TimeoutError(f"nothing came after {self._read!r}: {self.error_text}")
        data = os.read(self._stdout.fileno(), 1 << 16)
        self._read += data
        return bool(data)


class Cluster:
    """One cluster with a name and folders that nobody else has.

    Leaving the ``with`` block kills whatever was started in these folders, and checks that
    nothing is left of it.
    """

    def __init__(self, folder: Path, cache: Path, measured: bool = True) -> None:
        """With ``measured``, its workers know from the start how fast they are."""
        self._measured = measured
        self.name = f"test-{secrets.token_hex(5)}"
        self.folder = folder
        # What this process keeps quiet, a command has to keep quiet by itself.
        self.env = {k: v for k, v in os.environ.items() if k != "GRPC_VERBOSITY"} | {
            "XDG_DATA_HOME": str(folder / "data"),
            "XDG_STATE_HOME": str(folder / "state"),
            "XDG_CACHE_HOME": str(cache),
            "XDG_CONFIG_HOME": str(folder / "config"),
            "COLUMNS": "200",
            "NO_COLOR": "1",
            "PYTHONWARNINGS": "error",
        }
        self._started: list[Running] = []

    def words(self, *words: str) -> list[str]:
        """The whole command line; local workers that it names are measured ones."""
        if self._measured and words[0] == "up" and "--local" in words:
            count = int(words[words.index("--local") + 1])
            folder = self.folder / "data" / "pi-cluster" / self.name
            remember_speeds([folder / f"local-{n}" for n in range(1, count + 1)], self.env)
        named = [] if words[0] in _WITHOUT_CLUSTER else ["--cluster", self.name]
        first = 2 if words[0] in _GROUPS else 1
        return [str(COMMAND), *words[:first], *named, *words[first:]]

    def run(self, *words: str, stdin: bytes = b"", timeout_s: float = _PATIENCE_S) -> Outcome:
        """Run a command to its end."""
        done = subprocess.run(
            self.words(*words), env=self.env, input=stdin, capture_output=True, timeout=timeout_s
        )
        return Outcome(done.returncode, done.stdout.decode(), done.stderr.decode())

    def call(self, *words: str) -> Outcome:
        """Run a command to its end within this process, which spares starting another one."""
        out, err = io.StringIO(), io.StringIO()
        with self.environment(), redirect_stdout(out), redirect_stderr(err):
            code = run(self.words(*words)[1:])
        return Outcome(code, out.getvalue(), err.getvalue())

    def start(self, *words: str) -> Running:
        """Begin a command."""
        return self.start_program(self.words(*words))

    def start_program(self, words: list[str]) -> Running:
        """Begin any program in this cluster's folders."""
        running = Running(words, self.env, self.folder)
        self._started.append(running)
        return running

    def start_worker(self, name: str, *words: str) -> tuple[Running, str]:
        """Begin a worker by hand; returns it with its address once it is ready."""
        data_dir = self.folder / name
        if self._measured:
            remember_speed_by_hand(data_dir, words, self.env)
        running = self.start(
            *("worker", "--listen", "127.0.0.1:0", "--no-mdns"),
            *("--name", name, "--data-dir", str(data_dir), *words),
        )
        ready, address, _ = running.read_line().split()
        assert ready == "ready"
        return running, address

    def up(self, *words: str) -> Outcome:
        """``pi-cluster up``, which must succeed."""
        outcome = self.run("up", *words)
        assert (outcome.code, outcome.out) == (0, ""), outcome
        return outcome

    def status(self) -> Any:
        """What ``pi-cluster status --json`` prints, whether all is well or not."""
        return json.loads(self.call("status", "--json").out)

    def prompt(self, *words: str) -> Any:
        """What ``pi-cluster prompt --json`` prints."""
        return self.call("prompt", "--json", *words).json()

    def record(self) -> PipelineRecord:
        """What ``up`` remembers of the pipeline."""
        with self.environment():
            return load_record(self.name)

    @contextmanager
    def environment(self) -> Iterator[None]:
        """This process takes part in the cluster too.

        Threads that ask it read the environment meanwhile: nothing that is set already is touched.
        """
        before = {key: os.environ.get(key) for key in self.env}
        changed = {key: before[key] for key in self.env if before[key] != self.env[key]}
        os.environ.update({key: self.env[key] for key in changed})
        try:
            yield
        finally:
            for key, value in changed.items():
                if value is None:
                    os.environ.pop(key, None)
                else:
                    os.environ[key] = value

    def process_id(self, local_worker: str) -> int:
        """The process of a worker that ``up --local`` started."""
        data_dir = self.folder / "data" / "pi-cluster" / self.name / local_worker
        presence = find_presence(data_dir)
        assert presence is not None and presence.process_id > 0
        return presence.process_id

    def signal_worker(self, local_worker: str, number: signal.Signals) -> psutil.Process:
        """Send a signal to a worker that ``up --local`` started; returns its process."""
        process = psutil.Process(self.process_id(local_worker))
        process.send_signal(number)
        return process

    def supervisor_id(self, local_worker: str) -> int:
        """The process that starts a worker of ``up --local`` again."""
        data_dir = self.folder / "data" / "pi-cluster" / self.name / local_worker
        presence = find_supervisor(data_dir)
        assert presence is not None and presence.process_id > 0
        return presence.process_id

    def kill_for_good(self, local_worker: str) -> psutil.Process:
        """Kill a worker that ``up --local`` started, so that nothing starts it again."""
        supervisor = psutil.Process(self.supervisor_id(local_worker))
        supervisor.kill()
        supervisor.wait(10)
        process = self.signal_worker(local_worker, signal.SIGKILL)
        process.wait(10)
        return process

    def stop_commands(self) -> None:
        """End what ``start`` began, whatever it is doing."""
        while self._started:
            self._started.pop().stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop_commands()
        eventually(lambda: _killed(self.folder), lambda left: not left)


def processes_of(folder: Path) -> list[psutil.Process]:
    """Live processes that were started with a state folder below ``folder``."""
    found = []
    for process in psutil.process_iter():
        try:
            state = Path(process.environ().get("XDG_STATE_HOME", "/"))
        except psutil.Error:
            continue
        if state.is_relative_to(folder) and process.pid != os.getpid():
            found.append(process)
    return found


def _killed(folder: Path) -> list[psutil.Process]:
    """Kill what runs, supervisors too; returns what ran, as each may just have started another."""
    found = processes_of(folder)
    for process in found:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    return found


def describe_all(record: PipelineRecord) -> list[pb.NodeDescription]:
    """What each node of a pipeline tells, in its order."""
    found = []
    for stage in record.addresses:
        with NodeClient(stage.peer, PLAIN) as client:
            found.append(client.describe())
    return found


def eventually(
    look: Callable[[], Any], holds: Callable[[Any], bool], within_s: float = 10.0
) -> Any:
    """Look again and again until it holds; returns what was seen."""
    deadline = time.monotonic() + within_s
    while not holds(seen := look()):
        assert time.monotonic() < deadline, f"after {within_s} s it still is {seen}"
        time.sleep(_POLL_S)
    return seen
