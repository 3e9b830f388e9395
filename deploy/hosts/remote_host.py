"""The operator's end of the program that runs on a host while it is set up (`remote/`)."""

import contextlib
import json
import shlex
import subprocess
import tempfile
import threading
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any, BinaryIO, Self, cast

from pi_cluster.cluster.errors import HostError
from pi_cluster.cluster.shown import shown_line, shown_text
from pi_cluster.coordinator.records.known_hosts import Host
from pi_cluster.deploy.doctor.requirements import PYTHON_NEEDED
from pi_cluster.deploy.hosts import remote, ssh
from pi_cluster.deploy.hosts.remote import MODULES, framing

_STUB = "import sys;r=sys.stdin.buffer;exec(r.read(int(r.readline())))"
_LOADER = f"""
import sys
if sys.version_info < (3, 7):
    sys.exit("too old: Python %d.%d" % sys.version_info[:2])
import json, types
def module(name, source):
    made = sys.modules[name] = types.ModuleType(name)
    exec(compile(source, "<" + name + ">", "exec"), made.__dict__)
    return made
package = ""
for part in {remote.__name__!r}.split("."):
    package += part
    parent = module(package, "__path__ = []")
    package += "."
for name, source in json.loads(r.read(int(r.readline())).decode()):
    setattr(parent, name, module(package + name, source))
parent.program.main([sys.executable, "-I", "-c", {_STUB!r}])
"""
_PATIENCE_S = 1200.0  # the longest operation is an installation on a slow card
_START_PATIENCE_S = 60.0
_MAX_STDERR = 1 << 16
_MAX_REASON = 2_000


class RemoteHost:
    """A host with the program running on it, from ``with`` to its end.

    Every operation raises ``HostError``, a sentence that names the host, when it fails or when
    the connection is lost. To be used by one thread at a time.
    """

    def __init__(self, host: Host) -> None:
        self.host = host
        self._process: subprocess.Popen[bytes]
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115  # closed at the end of ``with``

    def __enter__(self) -> Self:
        command = ssh.ssh_command(self.host, f"python3 -I -c {shlex.quote(_STUB)}")
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._stderr
        )
        try:
            self._start_program()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *failure: object) -> None:
        process = self._process
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        # Without its input the program ends, and with it the connection.
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._stderr.close()

    def ask(self, operation: str, **arguments: Any) -> Any:
        """What an operation of ``deploy/hosts/remote/program.py`` answers."""
        return self._bounded(_PATIENCE_S, lambda: self._ask(operation, arguments, 0, None))

    def send_wheel(self, wheel: dict[str, Any], path: Path, on_sent: Callable[[int], None]) -> None:
        """Send a wheel, which the host checks; ``on_sent`` is told the bytes of each piece."""
        size = path.stat().st_size

        def pieces() -> None:
            with path.open("rb") as file:
                while piece := file.read(framing.PIECE_BYTES):
                    self._input.write(piece)
                    on_sent(len(piece))
            self._input.flush()

        self._bounded(_PATIENCE_S, lambda: self._ask("keep", {"wheel": wheel}, size, pieces))

    def become_root(self, password: str | None) -> None:
        """Start the program anew by sudo. The password must have been tried with ``sudo``."""
        words = ["-n"] if password is None else ["-k", "-S", "-p", ""]
        self._bounded(_PATIENCE_S, lambda: self._ask("become_root", words, 0, None))
        if password is not None:
            self._input.write(password.encode() + b"\n")
        self._start_program()

    @property
    def _input(self) -> Any:
        assert self._process.stdin is not None
        return self._process.stdin

    def _start_program(self) -> None:
        def start() -> None:
            loader, modules = _LOADER.encode(), _modules()
            for part in (loader, modules):
                self._input.write(b"%d\n%b" % (len(part), part))
            self._input.flush()
            if "hello" not in self._receive():
                raise framing.Ended("it does not greet")

        self._bounded(_START_PATIENCE_S, start)

    def _ask(
        self, operation: str, arguments: Any, size: int, write: Callable[[], None] | None
    ) -> Any:
        framing.send(self._input, {"do": operation, "with": arguments, "bytes": size})
        if write:
            write()
        answer = self._receive()
        if "failure" in answer:
            raise HostError(
                f"{self.host.label}: {shown_line(str(answer['failure'])[:_MAX_REASON])}"
            )
        try:
            return _readable(answer.get("done"))
        except RecursionError:
            raise HostError(f"{self.host.label}: what it answers is no answer") from None

    def _receive(self) -> dict[str, Any]:
        return framing.receive(cast(BinaryIO, self._process.stdout))

    def _bounded(self, patience_s: float, work: Callable[[], Any]) -> Any:
        """Do something with the pipes, within a time; raises ``HostError`` when they break."""
        timer = threading.Timer(patience_s, self._process.kill)
        timer.start()
        try:
            return work()
        except (framing.Ended, OSError) as error:
            raise HostError(self._why_ended(str(error))) from None
        finally:
            timer.cancel()

    def _why_ended(self, problem: str) -> str:
        try:
            code = self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self._stderr.seek(0)
        said = self._stderr.read(_MAX_STDERR).decode(errors="replace")
        label = self.host.label
        if code == ssh.FAILED:
            return ssh.explain(self.host, said)
        if code == ssh.NOT_FOUND:
            return f"{label}: it has no Python: `sudo apt install python3` there"
        if "too old: Python" in said:
            version = shown_line(said.partition("too old: ")[2].split("\n")[0])
            return f"{label}: it has {version}, and {PYTHON_NEEDED}: flash a newer system"
        last = said.strip().splitlines()[-1:] or [problem]
        return f"{label}: the program there ended ({shown_line(last[0].strip())})"


def _readable(value: Any) -> Any:
    """An answer whose texts, which the host may have chosen freely, are fit to be shown."""
    if isinstance(value, str):
        return shown_text(value)
    if isinstance(value, list):
        return [_readable(one) for one in value]
    if isinstance(value, dict):
        return {key: _readable(one) for key, one in value.items()}
    return value


def _modules() -> bytes:
    folder = resources.files(remote)
    sources = [(name, (folder / f"{name}.py").read_text("utf-8")) for name in MODULES]
    return json.dumps(sources).encode()
