"""The server as a service of systemd: of this user, or of the system with this user's rights."""

import os
import pwd
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from pi_cluster.cluster import settings
from pi_cluster.cluster.atomic_file import write_bytes
from pi_cluster.cluster.errors import HostError
from pi_cluster.deploy.hosts.remote import layout
from pi_cluster.deploy.hosts.systemd_unit import quoted

_TEMPLATE = "templates/server.service.jinja"
_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class ServerService:
    """The service of one cluster's server on this machine."""

    cluster: str
    is_system: bool
    """Whether it starts with the machine; else with this user's session, or by lingering."""

    @property
    def unit_name(self) -> str:
        """Not ``pi-cluster-...``: those are workers."""
        return f"serve-pi-cluster-{settings.check_cluster_name(self.cluster)}.service"

    @property
    def unit_file(self) -> Path:
        """Where its unit stands."""
        if self.is_system:
            return layout.UNITS / self.unit_name
        return settings.folders().config.parent / "systemd" / "user" / self.unit_name

    @property
    def log_command(self) -> str:
        """What shows its log."""
        return f"journalctl {'' if self.is_system else '--user '}-u {self.unit_name}"

    def unit(self, words: Sequence[str]) -> str:
        """The unit's text; ``words`` follow ``serve``."""
        source = (resources.files(__package__) / _TEMPLATE).read_text("utf-8")
        environment = Environment(  # noqa: S701  # a unit is no HTML
            undefined=StrictUndefined, trim_blocks=True, keep_trailing_newline=True
        )
        program = [sys.executable, "-P", "-m", "pi_cluster.deploy", "serve"]
        folders = settings.folders()
        kept = {
            "XDG_CONFIG_HOME": folders.config,
            "XDG_STATE_HOME": folders.state,
            "XDG_DATA_HOME": folders.data,
            "XDG_CACHE_HOME": folders.cache,
        }
        return environment.from_string(source).render(
            unit_name=self.unit_name,
            cluster=self.cluster,
            user=pwd.getpwuid(os.getuid()).pw_name if self.is_system else "",
            command=" ".join(map(quoted, [*program, *words, "--cluster", self.cluster])),
            folders={name: quoted(str(folder.parent)) for name, folder in kept.items()},
            written=[quoted(str(folder)) for folder in kept.values()],
        )

    def install(self, words: Sequence[str]) -> None:
        """Write the unit, and start it now and whenever it should. Raises ``HostError``."""
        self._check_able()
        text = self.unit(words)
        kept = settings.folders()
        for folder in (kept.data, kept.state, kept.cache, kept.config):
            # Only what is there when the service starts can be left open to it.
            folder.mkdir(parents=True, exist_ok=True)
        self.unit_file.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(self.unit_file, text.encode())
        self.unit_file.chmod(0o644)
        self._systemctl("daemon-reload")
        self._systemctl("enable", self.unit_name)
        self._systemctl("restart", self.unit_name)

    def uninstall(self) -> bool:
        """Stop and remove it; whether there was one. Raises ``HostError``."""
        self._check_able()
        if not self.unit_file.exists():
            return False
        self._systemctl("disable", "--now", self.unit_name)
        self.unit_file.unlink()
        self._systemctl("daemon-reload")
        return True

    def _check_able(self) -> None:
        if not Path("/run/systemd/system").is_dir():
            raise HostError("this machine has no systemd: start `pi-cluster serve` in another way")
        if self.is_system and os.geteuid() != 0:
            raise HostError(
                "a service of the system is installed by root, and runs as root: leave --system "
                "out, and have `loginctl enable-linger` start yours with the machine"
            )

    def _systemctl(self, *words: str) -> None:
        scope = [] if self.is_system else ["--user"]
        try:
            done = subprocess.run(
                ["systemctl", *scope, *words],  # noqa: S607  # where it is depends on the system
                capture_output=True,
                text=True,
                timeout=_TIMEOUT_S,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise HostError(f"systemctl {words[0]} did not end well: {error}") from None
        if done.returncode:
            reason = done.stderr.strip().splitlines()[-1:] or ["it does not say why"]
            raise HostError(f"systemctl {' '.join(words)} failed: {reason[0]}")
