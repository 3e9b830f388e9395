"""The inside of a host: its network, its name, and mounts that nobody else sees."""

import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from tests.testbed.errors import TestbedError, need_root, need_tools
from tests.testbed.network.network import Network

_TIMEOUT_S = 60.0


class Sandbox:
    """A host of ``network`` with mounts of its own, from ``with`` to its end.

    A process that does nothing holds them. It ends with the network at the latest, and the
    network with this process, however that ends.
    """

    def __init__(self, network: Network, host: int) -> None:
        """Raises ``TestbedError`` when something that is needed is missing."""
        need_root()
        need_tools("nsenter", "unshare")
        self.network = network
        self.host = host
        self._stack = ExitStack()
        self._holder: subprocess.Popen[Any]

    def __enter__(self) -> Self:
        words = ["unshare", "--mount", "--uts", "--propagation", "private", "cat"]
        pipe = subprocess.PIPE
        with ExitStack() as stack:
            self._holder = self.network.popen(
                self.host, words, stdin=pipe, stdout=pipe, text=True, bufsize=1
            )
            stack.callback(self._end)
            assert self._holder.stdin is not None and self._holder.stdout is not None
            # Once it has come back, the namespaces are made.
            self._holder.stdin.write("ready\n")
            if self._holder.stdout.readline() != "ready\n":
                raise TestbedError("a host's namespaces cannot be made: unshare told why above")
            self.run("hostname", self.network.name(self.host))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *failure: object) -> None:
        self._stack.close()

    def words(self, *words: str) -> list[str]:
        """The command line that runs a command in here; it becomes the command itself."""
        process = f"/proc/{self._holder.pid}/ns"
        return [
            *("nsenter", f"--net={process}/net", f"--mount={process}/mnt", f"--uts={process}/uts"),
            *("--", *words),
        ]

    def path(self, path: Path) -> Path:
        """Where this process sees what ``path`` is in here."""
        return Path(f"/proc/{self._holder.pid}/root") / path.relative_to("/")

    def run(self, *words: str, text: str = "", timeout_s: float = _TIMEOUT_S) -> str:
        """What a command in here prints, given ``text``. Raises ``TestbedError`` if it fails."""
        done = subprocess.run(
            self.words(*words), input=text, capture_output=True, text=True, timeout=timeout_s
        )
        if done.returncode:
            raise TestbedError(
                f"{words[0]} failed in a host of the test bed: {done.stderr.strip()}"
            )
        return done.stdout

    def _end(self) -> None:
        self._holder.kill()
        self._holder.communicate()
