"""A Pi as far as an installer can tell: a fresh Debian with systemd and SSH."""

import re
import shlex
import shutil
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import psutil

from tests.support.cluster_process import Outcome
from tests.testbed import firmware
from tests.testbed.card import USER, CardSettings, host_key, write_card
from tests.testbed.control_groups import control_groups
from tests.testbed.errors import TestbedError, need_tools
from tests.testbed.operator_host import Operator
from tests.testbed.rootfs import PI_OS_LITE, Recipe, made
from tests.testbed.sandbox import Sandbox

_BOOT_S = 60.0
_STOP_S = 10.0
_POLL_S = 0.05


class SystemdHost:
    """A host that is switched on from ``with`` to its end; nothing of it is left then.

    Its user is ``pi``, whom the operator's key lets in and who may do everything by ``sudo``.
    """

    def __init__(
        self,
        operator: Operator,
        host: int,
        folder: Path,
        settings: CardSettings | None = None,
        recipe: Recipe = PI_OS_LITE,
    ) -> None:
        """``folder`` is its card, ``recipe`` the system on it.

        Raises ``TestbedError`` when something needed is missing.
        """
        need_tools("systemd-nspawn")
        self.host = host
        self.name = operator.network.name(host)
        self.address = operator.network.address(host)
        self._operator = operator
        self._settings = settings or CardSettings()
        self._base = made(recipe)
        self._folder = folder
        self._stack = ExitStack()
        self._card = ExitStack()
        self._sandbox: Sandbox
        self._root: Path
        self._process: subprocess.Popen[Any] | None = None
        self._groups: list[Path]

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._groups = stack.enter_context(control_groups(self.name))
            stack.callback(self._remove_card)
            stack.callback(self.power_cut)
            self._insert_card()
            self.power_on()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *failure: object) -> None:
        self._stack.close()

    @property
    def known_host(self) -> str:
        """The line of ``known_hosts`` by which an SSH client knows this host's present key."""
        names = f"{self.name}.local,{self.name},{self.address}"
        return f"{names} {host_key(self._sandbox, self._root)}"

    def run(self, *words: str, stdin: str = "", timeout_s: float = 60.0) -> Outcome:
        """Run a command as ``pi``, by SSH from the operator's computer."""
        options = [
            *("BatchMode=yes", "ConnectTimeout=3", "LogLevel=ERROR", "StrictHostKeyChecking=yes"),
            f"UserKnownHostsFile={self._folder}/known_hosts",
        ]
        command = ["ssh", "-F", "none", "-i", str(self._operator.key_file)]
        for option in options:
            command += ["-o", option]
        command += [f"{USER}@{self.address}", shlex.join(words)]
        return self._operator.run(*command, stdin=stdin.encode(), timeout_s=timeout_s)

    def sudo(self, *words: str) -> Outcome:
        """Run a command as root, by SSH, with the password if there is one."""
        return self.run(
            "sudo", "-S", "-p", "", "--", *words, stdin=f"{self._settings.sudo_password}\n"
        )

    def wait_for_ssh(self, within_s: float = _BOOT_S) -> None:
        """Wait until the host lets the operator in. Raises ``TestbedError`` if it does not."""
        deadline = time.monotonic() + within_s
        while (outcome := self.run("true")).code:
            if time.monotonic() > deadline:
                console = (self._folder / "console.log").read_text(errors="replace")[-2000:]
                raise TestbedError(
                    f"{self.name} did not answer SSH in {within_s:.0f} s: {outcome.err.strip()}; "
                    f"its console ends with {console!r}"
                )
            time.sleep(_POLL_S)

    def reboot(self) -> None:
        """Reboot as a person would, and wait until SSH is back."""
        system = self._init()
        self.sudo("systemctl", "reboot")
        deadline = time.monotonic() + _BOOT_S
        while _is_alive(system):
            if time.monotonic() > deadline:
                raise TestbedError(f"{self.name} did not go down for a reboot in {_BOOT_S:.0f} s")
            time.sleep(_POLL_S)
        self.wait_for_ssh()

    def power_cut(self) -> None:
        """End all that runs in the host at once.

        What it has written is still there at ``power_on``, also what a real card would have lost
        because it was not synced.
        """
        if self._process is None:
            return
        firmware_process = psutil.Process(self._process.pid).children()
        self._process.kill()
        self._process.wait()
        self._process = None
        # It is the first of a PID namespace: when it is gone, so is everything in there.
        psutil.wait_procs(firmware_process, timeout=_STOP_S)

    def power_on(self) -> None:
        """Boot from the card."""
        assert self._process is None, f"{self.name} is on already"
        nspawn = [
            *("systemd-nspawn", "--quiet", "--boot", "--register=no", "--keep-unit"),
            *("--link-journal=no", "--console=pipe", "--resolv-conf=off", "--timezone=off"),
            *(f"--directory={self._root}", f"--machine={self.name}"),
            *("--network-namespace-path=/proc/self/ns/net", "--kill-signal=SIGRTMIN+3"),
        ]
        words = self._sandbox.words(
            *("unshare", "--pid", "--fork", "--kill-child", "--mount-proc"),
            *(sys.executable, "-ISB", firmware.__file__, *map(str, self._groups), "--", *nspawn),
        )
        with (self._folder / "console.log").open("ab") as console:
            self._process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def reflash(self) -> None:
        """Begin again with a fresh card: nothing is left, and the host has a new key."""
        self.power_cut()
        self._remove_card()
        self._insert_card()
        self.power_on()

    def _insert_card(self) -> None:
        self._folder.mkdir(parents=True)
        with ExitStack() as card:
            card.callback(shutil.rmtree, self._folder)
            self._sandbox = card.enter_context(Sandbox(self._operator.network, self.host))
            self._root = write_card(
                self._sandbox, self._base, self._folder, self._settings, self._operator.public_key
            )
            (self._folder / "known_hosts").write_text(f"{self.known_host}\n")
            self._card = card.pop_all()

    def _remove_card(self) -> None:
        self._card.close()

    def _init(self) -> psutil.Process:
        """The host's first process, as this machine sees it."""
        assert self._process is not None, f"{self.name} is off"
        for process in psutil.Process(self._process.pid).children(recursive=True):
            if re.fullmatch(r"systemd|init", process.name()):
                return process
        raise TestbedError(f"{self.name} has not booted")


def _is_alive(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
