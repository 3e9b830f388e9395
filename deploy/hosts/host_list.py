"""The hosts that `pi-cluster up --hosts` sets up: a list on the command line, or `cluster.toml`.

[[hosts]]
host = "pi1.local"      # or an alias of ~/.ssh/config
user = "pi"             # whom SSH logs in as; may use sudo
port = 22
key = "~/.ssh/cluster"
threads = 3             # of the kernels
memory = "6G"           # that the worker may use
data_dir = "/mnt/ssd"   # where the folder of its shards is made
role = "worker"         # or "coordinator": the program for prompts, no service
"""

import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from pi_cluster.cluster.errors import HostError
from pi_cluster.coordinator.records.known_hosts import Host, HostRole

_MAX_FILE_BYTES = 1 << 20
_MAX_HOSTS = 64
_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,253}[A-Za-z0-9])?|[0-9A-Fa-f:]{2,39}")
_USER = re.compile(r"[A-Za-z_][A-Za-z0-9._-]{0,31}")
# What stands in a systemd unit without being quoted, and is no other folder than it seems.
_FOLDER = re.compile(r"(?:/[A-Za-z0-9_][A-Za-z0-9._-]*)+")
_HIDDEN = ("/home", "/root", "/run/user", "/tmp", "/var/tmp", "/dev", "/proc", "/sys")  # noqa: S108
_MEMORY = re.compile(r"(\d{1,12})\s*([KMGT]?)(?:i?B)?", re.IGNORECASE)
_LEAST_MEMORY_BYTES = 256 << 20


def read_hosts(text: str) -> list[Host]:
    """The hosts of ``--hosts``: ``pi@pi1.local,pi@pi2.local:2222``, or a file ``*.toml``.

    Raises ``HostError`` naming the line, the host or the key that is wrong.
    """
    hosts = _read_file(Path(text)) if text.endswith(".toml") else _parse_list(text)
    if not any(host.role is HostRole.WORKER for host in hosts):
        raise HostError(f"{text} names no worker: a pipeline needs at least one")
    if len(hosts) > _MAX_HOSTS:
        raise HostError(f"{text} names {len(hosts)} hosts; at most {_MAX_HOSTS} are set up at once")
    seen: dict[tuple[str, int | None], Host] = {}
    for host in hosts:
        if seen.setdefault((host.host.lower(), host.port), host) is not host:
            raise HostError(f"{host.label} stands in {text} twice: leave one out")
    return hosts


def parse_memory(text: str) -> int:
    """Bytes of ``6G`` or ``1500M``, counted in 1024s. Raises ``HostError``."""
    match = _MEMORY.fullmatch(text.strip())
    if not match:
        raise HostError(f"{text!r} is no amount of memory: write it as 6G or 1500M")
    size = int(match[1]) << {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}[match[2].upper()]
    if size < _LEAST_MEMORY_BYTES:
        raise HostError(f"{text!r} is too little for a worker: give it at least 256M")
    return size


def _parse_list(text: str) -> list[Host]:
    hosts = []
    for entry in text.split(","):
        user, at, rest = entry.strip().rpartition("@")
        try:
            host = Host(**_split_port(rest))
            hosts.append(replace(host, user=_user(user)) if at else host)
        except HostError as error:
            raise HostError(
                f"--hosts: {entry.strip()!r}: {error}; write pi@pi1.local,pi@pi2.local:2222, or "
                "name a file that ends in .toml"
            ) from None
    return hosts


def _split_port(text: str) -> dict[str, Any]:
    name, colon, port = text.rpartition(":")
    if text.startswith("[") and text.endswith("]"):
        return {"host": _name(text[1:-1])}
    if not colon:
        return {"host": _name(text)}
    if not (port.isascii() and port.isdigit()):
        raise HostError(f"{port!r} is no port")
    return {"host": _name(name.removeprefix("[").removesuffix("]")), "port": _port(int(port))}


def _read_file(path: Path) -> list[Host]:
    try:
        with path.open("rb") as file:
            values = tomllib.loads(file.read(_MAX_FILE_BYTES).decode())
    except OSError as error:
        raise HostError(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:  # the message names line and column
        raise HostError(f"{path}: {error}") from None
    if unknown := values.keys() - {"hosts"}:
        raise HostError(f"{path}: unknown key {min(unknown)!r}: it has [[hosts]] tables only")
    tables = values.get("hosts")
    if not isinstance(tables, list) or not tables or not all(isinstance(t, dict) for t in tables):
        raise HostError(f"{path} has no [[hosts]] table: each host is one, with its `host = ...`")
    return [_from_table(table, number, path) for number, table in enumerate(tables, 1)]


def _from_table(table: Mapping[str, Any], number: int, path: Path) -> Host:
    name = table.get("host")
    where = f"{path}: host {number}" + (f" ({name})" if isinstance(name, str) else "")
    if "host" not in table:
        raise HostError(f'{where} has no name: write host = "pi{number}.local"')
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key not in _KEYS:
            known = ", ".join(_KEYS)
            raise HostError(f"{where}: unknown key {key!r}; there are {known}")
        kind, check = _KEYS[key]
        # TOML's true is not a number, though Python's is.
        if not isinstance(value, kind) or isinstance(value, bool):
            raise HostError(f"{where}: {key} is {value!r}, and must be {_KINDS[kind]}")
        try:
            values[_FIELDS.get(key, key)] = check(value)
        except HostError as error:
            raise HostError(f"{where}: {key}: {error}") from None
    return Host(**values)


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise HostError(f"{text!r} is no host name")
    return text


def _user(text: str) -> str:
    if not _USER.fullmatch(text):
        raise HostError(f"{text!r} is no user name")
    return text


def _port(number: int) -> int:
    if not 1 <= number <= 65535:
        raise HostError(f"{number} is no port: they go from 1 to 65535")
    return number


def _key(text: str) -> str:
    path = Path(text).expanduser()
    if not path.is_file():
        raise HostError(f"there is no file {path}: name the private key that the host accepts")
    return str(path)


def _threads(number: int) -> int:
    if not 1 <= number <= 256:
        raise HostError(f"{number} threads are not possible: from 1 to 256")
    return number


def _data_dir(text: str) -> str:
    path = str(PurePosixPath(text))
    if not _FOLDER.fullmatch(path):
        raise HostError(f"{text!r} must be an absolute path of letters, digits, '.', '_' and '-'")
    for hidden in _HIDDEN:
        if path == hidden or path.startswith(f"{hidden}/"):
            raise HostError(f"{text!r} lies in {hidden}, which the service does not see")
    return path


def _role(text: str) -> HostRole:
    try:
        return HostRole(text)
    except ValueError:
        raise HostError(f"{text!r} is no role: there are worker and coordinator") from None


_KEYS: dict[str, tuple[type, Callable[[Any], Any]]] = {
    "host": (str, _name),
    "user": (str, _user),
    "port": (int, _port),
    "key": (str, _key),
    "threads": (int, _threads),
    "memory": (str, parse_memory),
    "data_dir": (str, _data_dir),
    "role": (str, _role),
}
_FIELDS = {"memory": "memory_bytes"}
_KINDS = {str: "a text in quotes", int: "a whole number"}


def workers_of(hosts: Sequence[Host]) -> list[Host]:
    """Those that run a service."""
    return [host for host in hosts if host.role is HostRole.WORKER]
