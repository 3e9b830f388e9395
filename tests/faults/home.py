"""A home as the campaign strikes it: nodes on an emulated network, a server, a program that asks.

A node is one worker process in a host's network, with a small disk of its own. Host 0 is the
operator's computer, on which the server and the asking program run.
"""

import json
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

import psutil

from tests.faults.plan import COPIES, Ask
from tests.support.cluster_process import Cluster, Running, eventually
from tests.support.measured_nodes import remember_speed
from tests.support.preloads import JumpingClock, clock_library
from tests.testbed.network.network import Network

PORT = 7711
TEXTS = 8
"""That the pipeline has room for at once."""
_SERVER_PORT = 8011
_LAST_WORDS = 1200  # characters
_DISK = "96m"  # 64 MiB of it stay free of shards
_PATIENCE_S = 60.0


class Node:
    """One host with a worker."""

    def __init__(self, home: "Home", host: int) -> None:
        self.home, self.host = home, host
        self.name = f"pi{host}"
        self.ip = home.network.address(host)
        self.data_dir = home.folder / self.name
        self.clock = JumpingClock(home.library, home.folder / f"{self.name}.clock")
        self.running: Running | None = None

    @property
    def address(self) -> str:
        """Where its worker is reached."""
        return f"{self.ip}:{PORT}"

    @property
    def is_running(self) -> bool:
        """Whether its worker has begun and not ended."""
        return self.running is not None and self.running.process.poll() is None

    @property
    def process(self) -> psutil.Process:
        """The worker's."""
        assert self.running
        return psutil.Process(self.running.process.pid)

    def mount(self, stack: ExitStack) -> None:
        """Give it its disk, until the stack is closed."""
        self.data_dir.mkdir()
        words = ["mount", "-t", "tmpfs", "-o", f"size={_DISK}", self.name, str(self.data_dir)]
        subprocess.run(words, check=True)
        stack.callback(subprocess.run, ["umount", "--lazy", str(self.data_dir)], check=True)
        remember_speed(self.data_dir, 1, self.home.cluster.env)

    def begin(self) -> None:
        """Start its worker; it is ready when `wait` returns."""
        where = ("--listen", f"0.0.0.0:{PORT}", "--insecure", "--threads", "1")
        words = self.home.cluster.words(
            "worker", *where, "--name", self.name, "--data-dir", str(self.data_dir)
        )
        self.running = self.home.start(self.host, words, self.clock.env)

    def wait(self) -> None:
        """Until it answers calls."""
        assert self.running
        self.running.read_line(_PATIENCE_S)

    def kill(self) -> None:
        """End its worker as a power cut does."""
        if self.running:
            self.running.stop()
        self.running = None

    def send(self, number: signal.Signals) -> None:
        """Send its worker a signal."""
        if self.running:
            self.running.send(number)

    def run(self, *words: str) -> None:
        """Run a command on the host."""
        subprocess.run(self.home.inside(self.host, list(words)), check=True, capture_output=True)


class Home:
    """From ``with`` to its end."""

    def __init__(self, nodes: int, folder: Path) -> None:
        """``folder`` is empty."""
        self._stack = ExitStack()
        self.folder = folder
        self.network = Network(nodes + 1, "gbe")
        self.cluster = Cluster(folder, folder / "cache")
        self.library = clock_library(folder)
        self.nodes: dict[int, Node] = {}
        self._count = nodes
        self.server: Running | None = None
        self.asker: Asking | None = None
        self.url = f"http://127.0.0.1:{_SERVER_PORT}"

    def __enter__(self) -> Self:
        # Told to end, this process still gives the disks and the network back.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
        with ExitStack() as stack:
            stack.enter_context(self.network)
            for host in range(1, self._count + 1):
                node = self.nodes[host] = Node(self, host)
                node.mount(stack)
            stack.enter_context(self.cluster)
            for node in self.nodes.values():
                node.begin()
            for node in self.nodes.values():
                node.wait()
            self.up()
            self.start_server()
            self.start_asker()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *failure: object) -> None:
        self._stack.close()

    def inside(self, host: int, words: Sequence[str]) -> list[str]:
        """The command line that runs a command in a host's network; it becomes the command."""
        return ["nsenter", f"--net={self.network.namespace(host)}", "--", *words]

    def start(self, host: int, words: Sequence[str], env: dict[str, str] | None = None) -> Running:
        """Begin a program in a host's network."""
        environment = [f"{name}={value}" for name, value in (env or {}).items()]
        return self.cluster.start_program(self.inside(host, ["env", *environment, *words]))

    def up(self) -> None:
        """Bring the pipeline up over all nodes."""
        addresses = ",".join(node.address for node in self.nodes.values())
        how = ("--insecure", "--texts", str(TEXTS), "--replicas", str(COPIES[self._count]))
        words = self.cluster.words("up", "--nodes", addresses, *how)
        done = subprocess.run(
            self.inside(0, words),
            env=self.cluster.env,
            capture_output=True,
            timeout=2 * _PATIENCE_S,
        )
        if done.returncode:
            raise RuntimeError(f"up failed: {done.stderr.decode()}")

    def is_whole(self) -> bool:
        """Whether every node has a stage, where it is now."""
        record = self.cluster.record()
        served = {stage.peer.address for stage in record.addresses}
        return served == {node.address for node in self.nodes.values()}

    def start_server(self) -> None:
        """Begin the server, and wait until it takes requests."""
        server = self.server = self.start(
            0, self.cluster.words("serve", "--port", str(_SERVER_PORT))
        )
        eventually(lambda: server.error_text, lambda text: "serving on" in text, _PATIENCE_S)

    def start_asker(self) -> None:
        """Begin the program that asks."""
        words = [sys.executable, "-m", "tests.faults.asker", self.cluster.name]
        asker = self.asker = Asking(self.start(0, words))
        asker.until(lambda line: "ready" in line, _PATIENCE_S)

    def asking_programs(self) -> dict[str, Running]:
        """Those that may hold the pipeline, by what people call them."""
        assert self.server and self.asker
        return {"server": self.server, "client": self.asker.running}

    def last_words(self) -> list[str]:
        """What each program has said at last, and how it ended if it has."""
        workers = {node.name: node.running for node in self.nodes.values() if node.running}
        told = []
        for name, running in (self.asking_programs() | workers).items():
            said, code = running.error_text[-_LAST_WORDS:], running.process.poll()
            ended = "" if code is None else f", which ended with {code}"
            told.append(f"{name}, process {running.process.pid}{ended}, said at last: {said}")
        return told

    def programs(self) -> dict[str, psutil.Process]:
        """What must not grow: by what people call it."""
        nodes = {node.name: node.process for node in self.nodes.values()}
        asking = self.asking_programs().items()
        return nodes | {name: psutil.Process(one.process.pid) for name, one in asking}


class Asking:
    """The asking program, as the campaign speaks with it."""

    def __init__(self, running: Running) -> None:
        self.running = running
        self._lines: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def ask(self, number: int, url: str, asks: Sequence[Ask]) -> None:
        """Have so many users ask, through the server at ``url`` if that is given."""
        self._send(ask=number, url=url, asks=[asdict(ask) for ask in asks])

    def look(self, addresses: Sequence[str]) -> list[dict[str, Any]]:
        """What nodes hold of sessions."""
        self._send(look=addresses)
        found: list[dict[str, Any]] = self.until(lambda line: "look" in line, _PATIENCE_S)["look"]
        return found

    def until(self, holds: Callable[[dict[str, Any]], bool], timeout_s: float) -> dict[str, Any]:
        """The first line of which it holds; those before it are dropped."""
        deadline = time.monotonic() + timeout_s
        while not holds(line := self.next(max(0.0, deadline - time.monotonic()))):
            pass
        return line

    def next(self, timeout_s: float) -> dict[str, Any]:
        """The next line. Raises ``TimeoutError``, and ``EOFError`` where the program has ended."""
        try:
            line = self._lines.get(timeout=timeout_s)
        except queue.Empty:
            raise TimeoutError("the program that asks says nothing") from None
        if line is None:
            raise EOFError(f"the program that asks has ended: {self.running.error_text[-2000:]}")
        return line

    def _send(self, **order: object) -> None:
        self.running.stdin.write(json.dumps(order).encode() + b"\n")
        self.running.stdin.flush()

    def _read(self) -> None:
        assert self.running.process.stdout
        for line in self.running.process.stdout:
            self._lines.put(json.loads(line))
        self._lines.put(None)
