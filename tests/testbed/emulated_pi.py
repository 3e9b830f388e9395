"""A Pi as far as a program can tell: Debian for aarch64 on an emulated processor.

Each program is emulated by itself (qemu-user) on this machine's kernel. Its times say nothing
about a Pi's.
"""

import subprocess
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.support.cluster_process import Outcome, Running
from tests.testbed.network.network import Network
from tests.testbed.rootfs import emulated, made
from tests.testbed.sandbox import Sandbox

_TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class System:
    """A Debian for aarch64."""

    suite: str
    python: str
    glibc: int
    """The second number of its version."""


DEBIAN_12 = System("bookworm", "3.11", 36)
DEBIAN_13 = System("trixie", "3.13", 41)
PI_4, PI_5 = "cortex-a72", "cortex-a76"
_SITE = Path("/opt/site-packages")
PI_CLUSTER = ("python3", f"{_SITE}/bin/pi-cluster")  # its first line names another Python


class EmulatedPi:
    """A host of the network in which programs run emulated, from ``with`` to its end."""

    def __init__(
        self, network: Network, host: int, folder: Path, system: System, processor: str, site: Path
    ) -> None:
        """What is in ``site`` can be imported. ``folder`` keeps what programs write.

        The kernel must know aarch64 programs (``binfmt.py``). Raises ``TestbedError`` when
        something that is needed is missing.
        """
        self.address = network.address(host)
        self.name = network.name(host)
        self._folder = folder
        self._root = folder / "root"
        self._site = site
        self._processor = processor
        self._sandbox = Sandbox(network, host)
        self._base = made(emulated(system.suite))
        self._stack = ExitStack()
        self._started: list[Running] = []

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self._sandbox)
            stack.callback(self._stop_programs)
            self._mount()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *failure: object) -> None:
        self._stack.close()

    def words(self, *words: str) -> list[str]:
        """The command line that runs a program in here; signals reach the program itself."""
        variables = {
            "PATH": "/usr/bin:/bin",
            "HOME": "/root",
            "LANG": "C.UTF-8",
            "PYTHONPATH": str(_SITE),
            "PYTHONWARNINGS": "error",
            "QEMU_CPU": self._processor,
        }
        environment = [f"{name}={value}" for name, value in variables.items()]
        return self._sandbox.words("chroot", str(self._root), "env", "-i", *environment, *words)

    def run(self, *words: str, timeout_s: float = _TIMEOUT_S) -> Outcome:
        """Run a program to its end."""
        done = subprocess.run(self.words(*words), capture_output=True, text=True, timeout=timeout_s)
        return Outcome(done.returncode, done.stdout, done.stderr)

    def start(self, *words: str) -> Running:
        """Begin a program."""
        running = Running(self.words(*words), {"PATH": "/usr/sbin:/usr/bin:/bin"}, self._folder)
        self._started.append(running)
        return running

    def _mount(self) -> None:
        for name in ("root", "upper", "work"):
            (self._folder / name).mkdir(parents=True)
        layers = f"upperdir={self._folder}/upper,workdir={self._folder}/work"
        mount = ("mount", "-o")
        run = self._sandbox.run
        run(*mount, f"lowerdir={self._base},{layers}", "-t", "overlay", "overlay", str(self._root))
        run("mount", "-t", "proc", "proc", f"{self._root}/proc")
        run("mount", "--bind", "/dev", f"{self._root}/dev")
        site = self._sandbox.path(self._root / _SITE.relative_to("/"))
        site.mkdir(parents=True)
        run(*mount, "bind,ro", str(self._site), f"{self._root}{_SITE}")
        hosts = self._sandbox.path(self._root / "etc/hosts")
        hosts.write_text(self._sandbox.network.hosts_file())

    def _stop_programs(self) -> None:
        while self._started:
            self._started.pop().stop()
