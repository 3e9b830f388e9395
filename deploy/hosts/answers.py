"""What hosts answer over SSH, checked once where it comes in.

A host may be broken, or somebody else's, and answer anything. Each field has its type and bounds
here; one that does not keep to them is a ``HostError`` that names the host and the field.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

from pi_cluster.cluster.errors import HostError
from pi_cluster.cluster.shown import shown_line
from pi_cluster.deploy.hosts.remote_host import RemoteHost

DISKS = ("program", "wheels", "data")

_MOST_BYTES = 1 << 60
_MOST_NUMBER = 1 << 64
_MOST_FLAGS = (1 << 32) - 1
_MOST_VERSION = 10_000
_MAX_TEXT = 6 << 16  # of a file; a control character is told in six letters
_MAX_WORD = 1_000
_MOST_ADDRESSES = 256
_MOST_SERVICES = 32
_MOST_LINES = 100
_MAX_LINE = 2_000


@dataclass(frozen=True, slots=True)
class Disk:
    """The file system that a folder is on."""

    device: int
    """The same for folders on the same one."""
    free_bytes: int


@dataclass(frozen=True, slots=True)
class Installed:
    """What an earlier run left on a host. What is empty is not there."""

    receipt: Mapping[str, Any]
    """To be compared and no more: what is in it is unchecked."""
    environment: str
    unit: str
    is_active: bool
    is_enabled: bool


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What a host told of itself. What is None it could not tell."""

    label: str
    system: str
    machine: str
    pointer_bits: int
    python: tuple[int, ...]
    """Three numbers."""
    implementation: str
    glibc: tuple[int, ...] | None
    """Two numbers."""
    memory_bytes: int | None
    disks: Mapping[str, Disk]
    """By the names of :data:`DISKS`."""
    clock_unix_s: float
    throttled: int | None
    """The firmware's flags."""
    has_systemd: bool
    is_root: bool
    addresses: tuple[str, ...]
    installed: Installed
    other_services: tuple[Mapping[str, str], ...]
    """``name`` and ``unit`` of the workers of other clusters."""

    @classmethod
    def of(cls, label: str, told: object) -> "HostFacts":
        """From the answer to ``facts``. Raises ``HostError``."""
        answer = _Answer(label, told, "facts")
        disks = answer.part("disks")
        glibc = answer.has("glibc")
        return cls(
            label=label,
            system=answer.text("system"),
            machine=answer.text("machine"),
            pointer_bits=answer.number("pointer_bits", _MOST_VERSION),
            python=answer.numbers("python", 3),
            implementation=answer.text("implementation"),
            glibc=answer.numbers("glibc", 2) if glibc else None,
            memory_bytes=answer.number_or_none("memory_bytes", _MOST_BYTES),
            disks={name: _disk(disks.part(name)) for name in DISKS},
            clock_unix_s=answer.finite("clock_unix_s"),
            throttled=answer.number_or_none("throttled", _MOST_FLAGS),
            has_systemd=answer.flag("has_systemd"),
            is_root=answer.flag("is_root"),
            addresses=tuple(answer.texts("addresses", _MOST_ADDRESSES)),
            installed=_installed(answer.part("installed")),
            other_services=tuple(
                {"name": one.text("name"), "unit": one.text("unit", _MAX_TEXT)}
                for one in answer.parts("other_services", _MOST_SERVICES)
            ),
        )


@dataclass(frozen=True, slots=True)
class Health:
    """How a worker's service is."""

    state: str
    """As systemd has it: ``failed (failed)``."""
    is_active: bool
    restarts: int

    @classmethod
    def of(cls, label: str, told: object) -> "Health":
        """From the answer to ``health``. Raises ``HostError``."""
        answer = _Answer(label, told, "health")
        return cls(
            answer.text("state"), answer.flag("is_active"), answer.number("restarts", _MOST_NUMBER)
        )


def ask_facts(remote: RemoteHost, cluster: str, data_parent: str) -> HostFacts:
    """What a host tells of itself."""
    told = remote.ask("facts", cluster=cluster, data_parent=data_parent)
    return HostFacts.of(remote.host.label, told)


def ask_lacking(remote: RemoteHost, wheels: Sequence[Mapping[str, Any]]) -> set[str]:
    """Digests of those wheels that a host does not have."""
    told = {"lacking": remote.ask("lacking", wheels=wheels)}
    return set(_Answer(remote.host.label, told).texts("lacking", len(wheels)))


def ask_health(remote: RemoteHost, cluster: str) -> Health:
    """How the worker's service is on a host."""
    return Health.of(remote.host.label, remote.ask("health", cluster=cluster))


def ask_journal(remote: RemoteHost, cluster: str) -> list[str]:
    """What that service has logged last."""
    told = {"journal": remote.ask("journal", cluster=cluster)}
    lines = _Answer(remote.host.label, told).texts("journal", _MOST_NUMBER, _MOST_NUMBER)
    return [line[:_MAX_LINE] for line in lines[-_MOST_LINES:]]


class _Answer:
    """One JSON object of an answer; each method gives one of its fields as it must be."""

    def __init__(self, label: str, values: object, where: str = "") -> None:
        self._label = label
        self._where = where
        if not isinstance(values, dict):
            raise self._wrong("", values)
        self._values = values

    def has(self, name: str) -> bool:
        """Whether it was told at all."""
        return self._values.get(name) is not None

    def text(self, name: str, most: int = _MAX_WORD) -> str:
        value = self._values.get(name)
        if not isinstance(value, str) or len(value) > most:
            raise self._wrong(name, value)
        return value

    def flag(self, name: str) -> bool:
        value = self._values.get(name)
        if not isinstance(value, bool):
            raise self._wrong(name, value)
        return value

    def number(self, name: str, most: int) -> int:
        value = self._values.get(name)
        if not _is_number(value, most):
            raise self._wrong(name, value)
        return value

    def number_or_none(self, name: str, most: int) -> int | None:
        return self.number(name, most) if self.has(name) else None

    def numbers(self, name: str, count: int) -> tuple[int, ...]:
        """Parts of a version."""
        value = self._values.get(name)
        if not isinstance(value, list) or len(value) != count:
            raise self._wrong(name, value)
        if not all(_is_number(one, _MOST_VERSION) for one in value):
            raise self._wrong(name, value)
        return tuple(value)

    def finite(self, name: str) -> float:
        value = self._values.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._wrong(name, value)
        if abs(value) > _MOST_NUMBER or not math.isfinite(value):
            raise self._wrong(name, value)
        return float(value)

    def texts(self, name: str, most: int, most_letters: int = _MAX_WORD) -> list[str]:
        value = self._values.get(name)
        if not isinstance(value, list) or len(value) > most:
            raise self._wrong(name, value)
        if not all(isinstance(one, str) and len(one) <= most_letters for one in value):
            raise self._wrong(name, value)
        return value

    def part(self, name: str) -> "_Answer":
        """An object in this one."""
        return _Answer(self._label, self._values.get(name), self._name_of(name))

    def parts(self, name: str, most: int) -> list["_Answer"]:
        value = self._values.get(name)
        if not isinstance(value, list) or len(value) > most:
            raise self._wrong(name, value)
        return [_Answer(self._label, one, self._name_of(name)) for one in value]

    def as_it_is(self, name: str) -> dict[str, Any]:
        """An object in this one, unchecked."""
        return self.part(name)._values

    def _name_of(self, name: str) -> str:
        return f"{self._where}.{name}".strip(".")

    def _wrong(self, name: str, value: object) -> HostError:
        told = "nothing" if value is None else shown_line(repr(value)[:60])
        return HostError(
            f"{self._label}: what it tells as {self._name_of(name)} cannot be right ({told}): look "
            "at that host before you trust it, or flash its card anew, and run the same command "
            "again"
        )


def _is_number(value: object, most: int) -> TypeGuard[int]:
    return type(value) is int and 0 <= value <= most


def _disk(answer: _Answer) -> Disk:
    return Disk(answer.number("device", _MOST_NUMBER), answer.number("free_bytes", _MOST_BYTES))


def _installed(answer: _Answer) -> Installed:
    return Installed(
        receipt=answer.as_it_is("receipt"),
        environment=answer.text("environment", _MAX_TEXT),
        unit=answer.text("unit", _MAX_TEXT),
        is_active=answer.flag("is_active"),
        is_enabled=answer.flag("is_enabled"),
    )
