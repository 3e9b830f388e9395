"""Wheels for a host's Python and processor, on the operator's machine.

The project's own comes from a folder of the user's, from the source that this installation was
made of, or from the package index; its dependencies from the package index, by this machine's
pip. They stay in the cache (`wheel_cache.py`): the second time nothing is asked of anybody.
"""

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from email.parser import HeaderParser
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename

from pi_cluster.cluster.errors import HostError
from pi_cluster.cluster.version import VERSION
from pi_cluster.deploy.wheels.project_wheel import (
    build_wheel,
    check_kernels,
    has_kernels,
    source_of_this_installation,
)
from pi_cluster.deploy.wheels.wheel_cache import filled, remove_unused

PROJECT = "pi-cluster"

_PIP_TIMEOUT_S = 900.0
_MAX_ROUNDS = 8  # of finding requirements of requirements
_OLDEST_GLIBC_MINOR = 17  # of manylinux2014


@dataclass(frozen=True, slots=True)
class Target:
    """What wheels must fit."""

    python: tuple[int, int]
    machine: str
    """``x86_64`` or ``aarch64``"""
    glibc_minor: int
    """Of glibc 2."""

    @property
    def platforms(self) -> list[str]:
        """The tags of wheels that run there, the best first."""
        minors = range(self.glibc_minor, _OLDEST_GLIBC_MINOR - 1, -1)
        many = [f"manylinux_2_{minor}_{self.machine}" for minor in minors]
        return [*many, f"manylinux2014_{self.machine}", f"linux_{self.machine}"]

    @property
    def markers(self) -> dict[str, str]:
        """The environment that requirements are judged in."""
        version = ".".join(map(str, self.python))
        return {
            "implementation_name": "cpython",
            "implementation_version": f"{version}.0",
            "os_name": "posix",
            "platform_machine": self.machine,
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": "Linux",
            "platform_version": "",
            "python_full_version": f"{version}.0",
            "python_version": version,
            "sys_platform": "linux",
            "extra": "",
        }


@dataclass(frozen=True, slots=True)
class Wheel:
    """A wheel on this machine."""

    path: Path
    sha256: str
    size_bytes: int
    installed_bytes: int
    """Of its files and of what Python compiles them to."""

    @property
    def message(self) -> dict[str, Any]:
        """As the program on a host knows it."""
        return {"name": self.path.name, "sha256": self.sha256}


@dataclass(frozen=True, slots=True)
class Wheelhouse:
    """All wheels of one target."""

    wheels: tuple[Wheel, ...]
    target: Target

    @property
    def digest(self) -> str:
        """Names the environment that is made of them."""
        parts = [".".join(map(str, self.target.python)), *(sorted(w.sha256 for w in self.wheels))]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]

    @property
    def size_bytes(self) -> int:
        """Of the wheels themselves."""
        return sum(wheel.size_bytes for wheel in self.wheels)

    @property
    def installed_bytes(self) -> int:
        """Of the environment made of them."""
        return sum(wheel.installed_bytes for wheel in self.wheels)


def wheelhouse(target: Target, given: Path | None) -> Wheelhouse:
    """All wheels for ``target``; ``given`` is the user's own folder of wheels, looked into first.

    Raises ``HostError`` when one cannot be had, with the tool or the option that would help.
    """
    project = _project_wheel(target, given)
    needs = [str(need) for need in _requirements(project)]
    return Wheelhouse((*_dependencies(needs, target, given), _wheel(project)), target)


def _project_wheel(target: Target, given: Path | None) -> Path:
    """The project's own wheel, which fits every Python."""
    if given:
        return _given_wheel(given, target)
    source = source_of_this_installation()
    origin = source.fingerprint[:16] if source else VERSION
    kind = f"{PROJECT}-{target.machine}-"
    with filled(f"{kind}{origin}") as (folder, is_empty):
        if is_empty and source:
            build_wheel(source, target.machine, folder)
        elif is_empty:
            _download([f"{PROJECT}=={VERSION}"], folder, target, None, "--no-deps")
        wheel = next(folder.glob("*.whl"))
        check_kernels(wheel)
    if is_empty:
        remove_unused(kind)
    return wheel


def _dependencies(needs: Sequence[str], target: Target, given: Path | None) -> list[Wheel]:
    """Wheels of what the project needs, of what that needs, and of pip, which installs it all.

    Whoever removes the folder from the cache gets newer ones.
    """
    digest = hashlib.sha256("\n".join(sorted(needs)).encode()).hexdigest()[:16]
    python = ".".join(map(str, target.python))
    name = f"python{python}-{target.machine}-glibc2.{target.glibc_minor}-{digest}"
    with filled(name) as (folder, is_empty):
        wanted = ["pip", *needs] if is_empty else []
        for _ in range(_MAX_ROUNDS):
            if not wanted:
                break
            _download(wanted, folder, target, given)
            wanted = _unmet(folder, target)
        else:
            raise HostError("the requirements of pi-cluster's dependencies do not come to an end")
        return [_wheel(path) for path in sorted(folder.glob("*.whl"))]


def _wheel(path: Path) -> Wheel:
    return Wheel(path, _sha256(path), path.stat().st_size, _installed_bytes(path))


def _given_wheel(given: Path, target: Target) -> Path:
    for path in sorted(given.glob("*.whl"), reverse=True):
        name, _, _, tags = parse_wheel_filename(path.name)
        platforms = {tag.platform for tag in tags}
        if name == PROJECT and platforms & set(target.platforms) and has_kernels(path):
            return path
    raise HostError(
        f"{given} has no wheel of pi-cluster for {target.machine}: `make wheels` builds it for "
        "this machine and for the Raspberry Pi"
    )


def _unmet(folder: Path, target: Target) -> list[str]:
    """Requirements of the wheels in ``folder`` that none of them meets.

    pip judges a requirement's conditions by the Python that it runs in, which may be another one.
    """
    held = set()
    required: list[Requirement] = []
    for path in folder.glob("*.whl"):
        name, _, _, _ = parse_wheel_filename(path.name)
        held.add(name)
        required += _requirements(path)
    return [
        f"{need.name}{need.specifier}"
        for need in required
        if (need.marker is None or need.marker.evaluate(target.markers))
        and canonicalize_name(need.name) not in held
    ]


def _requirements(path: Path) -> Iterator[Requirement]:
    with zipfile.ZipFile(path) as wheel:
        name = next(n for n in wheel.namelist() if n.endswith(".dist-info/METADATA"))
        metadata = HeaderParser().parsestr(wheel.read(name).decode())
    for text in metadata.get_all("Requires-Dist") or []:
        yield Requirement(text)


def _download(
    wanted: Sequence[str], folder: Path, target: Target, given: Path | None, *options: str
) -> None:
    """Have this machine's pip get wheels for another one."""
    words = [
        *("download", *options, "--quiet", "--disable-pip-version-check", "--only-binary=:all:")
    ]
    words += ["--dest", str(folder), "--implementation", "cp"]
    words += ["--python-version", ".".join(map(str, target.python))]
    for platform in target.platforms:
        words += ["--platform", platform]
    words += ["--find-links", str(given or folder)]
    with tempfile.TemporaryDirectory() as elsewhere:
        if given and _pip([*words, "--no-index", *wanted], elsewhere).returncode == 0:
            return
        done = _pip([*words, *wanted], elsewhere)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        raise HostError(
            f"pip cannot get the wheels for Python {target.python[0]}.{target.python[1]} on "
            f"{target.machine}: {'; '.join(said[-2:]) or done.stderr.strip()[-300:]}. This "
            "machine needs the package index once; or give a folder that has them with --wheels"
        )


def _pip(words: Sequence[str], folder: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", "-m", "pip", *words]
    try:
        return subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=_PIP_TIMEOUT_S
        )
    except subprocess.TimeoutExpired:
        raise HostError(
            f"pip has not got the wheels in {_PIP_TIMEOUT_S:.0f} s: see whether the package "
            "index can be reached, and run the same command again"
        ) from None


def _installed_bytes(path: Path) -> int:
    with zipfile.ZipFile(path) as wheel:
        sizes = [(info.filename, info.file_size) for info in wheel.infolist()]
    compiled = sum(size for name, size in sizes if name.endswith(".py"))
    return sum(size for _, size in sizes) + compiled


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
