"""The computer from which somebody sets up a cluster: host 0 of the network."""

import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from tests.support.cluster_process import Outcome, Running
from tests.testbed.card import USER
from tests.testbed.errors import need_overlays, need_tools
from tests.testbed.network.network import Network
from tests.testbed.sandbox import Sandbox

_TIMEOUT_S = 60.0


class Operator:
    """A person's account in host 0, from ``with`` to its end.

    Home, SSH folder and XDG folders lie in ``folder``; the SSH client knows no host yet. Hosts are
    found as ``pi1.local``. Everything else is this machine's. The network has no way out.
    """

    def __init__(self, network: Network, folder: Path) -> None:
        """Raises ``TestbedError`` when something that is needed is missing."""
        need_tools("ssh", "ssh-keygen")
        need_overlays()
        self.network = network
        self.home = folder / "home"
        self.key_file = self.home / ".ssh" / "id_ed25519"
        self._folder = folder
        self._sandbox = Sandbox(network, 0)
        self._stack = ExitStack()
        self._started: list[Running] = []

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self._sandbox)
            stack.callback(self._stop_commands)
            self._furnish()
            self._hide()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *failure: object) -> None:
        self._stack.close()

    @property
    def environment(self) -> dict[str, str]:
        """What the operator's commands find in their environment."""
        private = {
            "HOME": str(self.home),
            "XDG_DATA_HOME": str(self.home / ".local/share"),
            "XDG_STATE_HOME": str(self.home / ".local/state"),
            "XDG_CACHE_HOME": str(self.home / ".cache"),
            "XDG_CONFIG_HOME": str(self.home / ".config"),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "COLUMNS": "200",
            "NO_COLOR": "1",
        }
        return {key: os.environ[key] for key in os.environ if key != "SSH_AUTH_SOCK"} | private

    @property
    def public_key(self) -> str:
        """What a host must have among its authorised keys to let the operator in."""
        return self.key_file.with_suffix(".pub").read_text().strip()

    def words(self, *words: str) -> list[str]:
        """The command line that runs a command as the operator, in the operator's home."""
        return self._sandbox.words("env", f"--chdir={self.home}", *words)

    def run(
        self,
        *words: str,
        stdin: bytes = b"",
        variables: Mapping[str, str] | None = None,
        timeout_s: float = _TIMEOUT_S,
    ) -> Outcome:
        """Run a command, such as ``pi-cluster``, to its end, with further environment variables."""
        environment = self.environment | dict(variables or {})
        done = subprocess.run(
            self.words(*words),
            env=environment,
            input=stdin,
            capture_output=True,
            timeout=timeout_s,
        )
        return Outcome(done.returncode, done.stdout.decode(), done.stderr.decode())

    def run_online(self, *words: str, timeout_s: float = _TIMEOUT_S) -> Outcome:
        """Run a command that must reach the internet, as with another cable: in the operator's
        home and environment, but on this machine's own network, where no host is."""
        command = ["env", f"--chdir={self.home}", *words]
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=timeout_s
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    def start(self, *words: str) -> Running:
        """Begin a command; signals sent to it reach the command itself."""
        running = Running(self.words(*words), self.environment, self._folder)
        self._started.append(running)
        return running

    def remember(self, known_host: str) -> None:
        """Know a host by a line of ``known_hosts``, as after an earlier visit."""
        with (self.home / ".ssh" / "known_hosts").open("a") as known:
            known.write(f"{known_host}\n")

    def _furnish(self) -> None:
        ssh = self.home / ".ssh"
        ssh.mkdir(parents=True)
        ssh.chmod(0o700)
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f"]
        subprocess.run([*command, str(self.key_file)], check=True)
        (ssh / "config").write_text(f"Host *.local\n    User {USER}\n")
        (ssh / "known_hosts").touch()
        # Where packages are found is the machine's matter, not the person's.
        settings = Path.home() / ".config" / "pip"
        if settings.exists():
            shutil.copytree(settings, self.home / ".config" / "pip")

    def _hide(self) -> None:
        """Show the hosts' names, and this SSH folder, instead of this machine's own."""
        hosts = self._folder / "hosts"
        hosts.write_text(self.network.hosts_file())
        self._sandbox.run("mount", "--bind", str(hosts), "/etc/hosts")
        # The SSH client looks up the home in /etc/passwd, whatever $HOME is.
        real = pwd.getpwuid(os.geteuid()).pw_dir
        for name in ("upper", "work"):
            (self._folder / name).mkdir()
        (self._folder / "upper" / ".ssh").mkdir(mode=0o700)
        options = f"lowerdir={real},upperdir={self._folder}/upper,workdir={self._folder}/work"
        self._sandbox.run("mount", "-t", "overlay", "-o", options, "overlay", real)
        self._sandbox.run("mount", "--bind", str(self.home / ".ssh"), f"{real}/.ssh")

    def _stop_commands(self) -> None:
        while self._started:
            self._started.pop().stop()
