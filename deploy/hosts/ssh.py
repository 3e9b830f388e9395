"""The user's own OpenSSH: its configuration, agent and known hosts are what counts.

Nothing is ever asked (``BatchMode``): what SSH would ask about ends in a sentence that says what
to do. A host that is met for the first time is remembered; one whose key has changed is refused.
"""

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from pi_cluster.cluster.errors import HostError
from pi_cluster.cluster.shown import shown_line
from pi_cluster.coordinator.records.known_hosts import Host

FAILED = 255
"""SSH's own exit code when it is the connection that failed, not the command."""
NOT_FOUND = 127
"""A shell's exit code when there is no such command."""

_CONNECT_S = 10
_ALIVE_S = 5  # a host that is unplugged is noticed after three of these
_CONFIG_TIMEOUT_S = 20.0
_MAX_CONFIG = 1 << 20


def ssh_command(host: Host, remote_command: str) -> list[str]:
    """The command line that runs a shell command on a host.

    Raises ``HostError`` when there is no SSH client or its configuration is not valid.
    """
    ssh = shutil.which("ssh")
    if ssh is None:
        raise HostError("there is no `ssh` on this machine: sudo apt install openssh-client")
    words = [ssh, "-T", *_options(host)]
    # Asking is the default; whoever chose something else in ~/.ssh/config is followed.
    if _configured(words, host, "stricthostkeychecking") in ("ask", ""):
        words += ["-o", "StrictHostKeyChecking=accept-new"]
    return [*words, "--", host.destination, remote_command]


def _options(host: Host) -> list[str]:
    settings = [
        "BatchMode=yes",
        f"ConnectTimeout={_CONNECT_S}",
        f"ServerAliveInterval={_ALIVE_S}",
        "ServerAliveCountMax=3",
    ]
    words = []
    if host.port:
        words += ["-p", str(host.port)]
    if host.key:
        words += ["-i", host.key]
        # An agent full of other keys would use up the attempts that the host allows.
        settings.append("IdentitiesOnly=yes")
    for setting in settings:
        words += ["-o", setting]
    return words


def _configured(words: Sequence[str], host: Host, keyword: str) -> str:
    """What the user's configuration says for this host, in lower case."""
    command = [*words, "-G", "--", host.destination]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_CONFIG_TIMEOUT_S
        )
    except subprocess.TimeoutExpired:
        raise HostError(f"`ssh -G {host.destination}` does not end: see ~/.ssh/config") from None
    if done.returncode:
        reason = shown_line(done.stderr.decode(errors="replace").strip())
        raise HostError(f"ssh does not accept its configuration for {host.label}: {reason}")
    for line in done.stdout[:_MAX_CONFIG].decode(errors="replace").splitlines():
        name, _, value = line.partition(" ")
        if name == keyword:
            return value.strip().lower()
    return ""


def explain(host: Host, stderr: str) -> str:
    """A sentence for what SSH wrote when a connection failed, with the next step."""
    for pattern, sentence in _EXPLANATIONS:
        if match := re.search(pattern, stderr, re.IGNORECASE):
            return shown_line(f"{host.label}: {sentence.format_map(_words(host, match))}")
    last = shown_line(_last_line(stderr))
    return f"{host.label}: ssh failed{f' ({last})' if last else ''}: try `{_by_hand(host)}`"


def _words(host: Host, match: re.Match[str]) -> dict[str, str]:
    """What may stand in a sentence: groups of the pattern, and the commands that help."""
    found = {name: text for name, text in match.groupdict().items() if text}
    if "reason" in found:
        found["reason"] = found["reason"].lower()
    return {
        "who": host.destination,
        "said": match[0].strip().rstrip("."),
        "log_in": f"`{_by_hand(host)}`",
        "copy_key": f"`ssh-copy-id {f'-p {host.port} ' if host.port else ''}{host.destination}`",
        "forget_key": f"`{_forget(host, found.get('file'))}`",
        **found,
    }


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def _by_hand(host: Host) -> str:
    port = f" -p {host.port}" if host.port else ""
    key = f" -i {host.key}" if host.key else ""
    return f"ssh{port}{key} {host.destination}"


def _forget(host: Host, file: str | None) -> str:
    """How to forget a host's key, in the file where it stands."""
    name = host.host if host.port in (None, 22) else f"'[{host.host}]:{host.port}'"
    usual = Path.home() / ".ssh" / "known_hosts"
    where = f" -f {file}" if file and Path(file) != usual else ""
    return f"ssh-keygen{where} -R {name}"


_SILENT = "is it switched on, and in the same network as this machine?"
_EXPLANATIONS = (
    (
        r"REMOTE HOST IDENTIFICATION HAS CHANGED"
        r"(?:(?s:.*?)Offending \S+ key in (?P<file>\S+?):\d+)?",
        "its SSH host key is not the one that this machine remembers. If its card was flashed "
        "anew, forget the old key with {forget_key} and run the same command again; if it was not, "
        "somebody else may be answering in its place",
    ),
    (
        r"host key is known for .* strict checking|Host key verification failed",
        "its SSH host key is not known, and your SSH configuration says that unknown hosts are "
        "refused (StrictHostKeyChecking): log in once with {log_in}, or add its key to known_hosts",
    ),
    (
        r"Could not resolve hostname (?P<name>\S+?):",
        "no computer called {name} is found: is it switched on and in this network? A fresh Pi "
        "needs a minute or two for its first start; where .local names do not work, give its IP "
        "address",
    ),
    (
        r"connect to host \S+ port (?P<port>\d+): Connection refused",
        "it refuses connections on port {port}: enable SSH there (Raspberry Pi Imager: Services, "
        "or `sudo systemctl enable --now ssh`)",
    ),
    (
        r"(?:connect to host \S+ port \d+: )(?P<reason>Connection timed out|No route to host"
        r"|Network is unreachable|Operation timed out|Host is down)",
        "it does not answer ({reason}): " + _SILENT,
    ),
    (
        r"(?P<reason>Connection timed out during banner exchange)",
        "it does not answer ({reason}): " + _SILENT,
    ),
    (
        r"Too many authentication failures",
        "it ended the login because too many keys were offered: name the right one with "
        "`key = ...` in cluster.toml, or with IdentityFile and IdentitiesOnly in ~/.ssh/config",
    ),
    (
        r"Permission denied \((?P<methods>(?:(?!publickey)[^)])*)\)",
        "it lets nobody in by key ({methods}): allow PubkeyAuthentication there",
    ),
    (
        r"(?:(?P<who>\S+): )?Permission denied \([^)]*\)",
        "it accepts none of your SSH keys for {who}: copy yours there with {copy_key}",
    ),
    (
        r"Timeout, server \S+ not responding|Connection (?:to \S+ )?closed by \S+.*"
        r"|client_loop: send disconnect.*|Connection reset by.*|Broken pipe.*",
        "the connection was lost ({said}): run the same command again, it goes on where it stopped",
    ),
)
"""What SSH writes, and what is said about it after the host's name; the first that fits."""
