"""Where things are on a host, and the names that they may have."""

from __future__ import annotations

import contextlib
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

PROGRAMS = Path("/opt/pi-cluster")
WHEELS = Path("/var/cache/pi-cluster/wheels")
DEFAULT_DATA = Path("/var/lib/pi-cluster")
# Not in /run/lock, where everybody may make files: root alone may make this folder.
LOCKS = Path("/run/pi-cluster")
UNITS = Path("/etc/systemd/system")
SYSTEM_USER = "pi-cluster"

_CLUSTER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")
_UNIT = re.compile(rf"pi-cluster-({_CLUSTER.pattern})\.service")
_DIGEST = re.compile(r"[0-9a-f]{16,64}")
_WHEEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{1,200}\.whl")
_FILE = re.compile(r"[a-z][a-z0-9_-]{0,63}\.json")
_FOLDER = re.compile(r"(/[A-Za-z0-9_][A-Za-z0-9._-]*)+")
_COMMAND_TIMEOUT_S = 600
_KILLED_S = 2


class Failure(Exception):
    """What cannot be done on this host, as a sentence for the operator."""


def programs(cluster: str) -> Path:
    """The folder of a cluster's virtual environments."""
    return PROGRAMS / checked(_CLUSTER, cluster)


def environment(cluster: str, digest: str) -> Path:
    """The virtual environment that was made of certain wheels."""
    return programs(cluster) / f"venv-{checked(_DIGEST, digest)}"


def current(cluster: str) -> Path:
    """The link to the environment in use."""
    return programs(cluster) / "current"


def receipt(cluster: str) -> Path:
    """What the last finished installation was of, for everybody to read."""
    return programs(cluster) / "installed.json"


def unit_name(cluster: str) -> str:
    """The service of a cluster's worker."""
    return f"pi-cluster-{checked(_CLUSTER, cluster)}.service"


def cluster_of_unit(name: str) -> str | None:
    """The cluster whose worker's service it is; None for another service."""
    found = _UNIT.fullmatch(name)
    return found[1] if found else None


def unit_file(cluster: str) -> Path:
    """Where its unit stands."""
    return UNITS / unit_name(cluster)


def data(cluster: str, parent: str) -> Path:
    """The node's own folder in ``parent``."""
    return Path(checked(_FOLDER, parent)) / checked(_CLUSTER, cluster)


class UserFolders(NamedTuple):
    """Where the user who logged in keeps what belongs to a cluster."""

    config: Path
    state: Path


def user_folders(cluster: str) -> UserFolders:
    """As `cluster/settings.py` has them for a user who has set no other folders."""
    home, name = Path.home(), checked(_CLUSTER, cluster)
    return UserFolders(
        home / ".config" / "pi-cluster" / name, home / ".local" / "state" / "pi-cluster" / name
    )


def wheel(digest: str, name: str) -> Path:
    """Where a wheel lies until the environment is made of it."""
    return WHEELS / checked(_DIGEST, digest) / checked(_WHEEL, name)


def file_name(name: str) -> str:
    """The name of a file in one of these folders."""
    return checked(_FILE, name)


def checked(pattern: re.Pattern[str], text: object) -> str:
    """The text, which must be of this form: nothing else becomes part of a path."""
    if not isinstance(text, str) or not pattern.fullmatch(text):
        raise Failure(f"{text!r} is no name that this program would use")
    return text


def command(*words: str, stdin: str = "", timeout_s: float = _COMMAND_TIMEOUT_S) -> str:
    """What a command prints. Raises ``Failure`` with its last lines when it fails."""
    done = run(words, stdin, timeout_s)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()[-4:]
        raise Failure(f"`{' '.join(words[:4])}` failed: {'; '.join(said) or 'no reason given'}")
    return done.stdout


def run(
    words: Sequence[str], stdin: str = "", timeout_s: float = _COMMAND_TIMEOUT_S
) -> subprocess.CompletedProcess[str]:
    """A command that was run to its end, whatever that was.

    Raises ``Failure`` when it cannot be started, or has not ended in time.
    """
    try:
        process = subprocess.Popen(
            list(words),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
        )
    except FileNotFoundError:
        raise Failure(f"there is no `{words[0]}` on this host") from None
    except OSError as error:
        raise Failure(f"`{words[0]}` cannot be run on this host: {error.strerror}") from None
    try:
        stdout, stderr = process.communicate(stdin, timeout_s)
    except subprocess.TimeoutExpired:
        _abandon(process)
        raise Failure(f"`{' '.join(words[:4])}` has not ended in {timeout_s} s") from None
    except BaseException:
        _abandon(process)
        raise
    return subprocess.CompletedProcess(list(words), process.returncode, stdout, stderr)


def _abandon(process: subprocess.Popen[str]) -> None:
    """Kill a command, and go on also where the kernel does not let go of it."""
    process.kill()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe:
            with contextlib.suppress(OSError):
                pipe.close()
    # One that waits for the firmware or a dead disk dies when that answers, which may be never.
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_KILLED_S)
