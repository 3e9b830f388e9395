"""The project's own wheel, built from the source that this installation was made of."""

import hashlib
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pi_cluster.cluster.errors import HostError

_CROSS_COMPILERS = {"aarch64": "aarch64-linux-gnu-gcc"}
_BUILD_TIMEOUT_S = 900.0
_KERNELS = "pi_cluster/kernels/libkernels."


@dataclass(frozen=True, slots=True)
class Source:
    """A checkout of the project."""

    folder: Path
    fingerprint: str
    """Of everything that goes into a wheel."""


def source_of_this_installation() -> Source | None:
    """What `pip install` was given (PEP 610); None when that was the package index.

    Raises ``HostError`` when it is gone, or has changed since.
    """
    distribution = importlib.metadata.distribution("pi-cluster")
    origin = json.loads(distribution.read_text("direct_url.json") or "{}")
    url = urlsplit(origin.get("url", ""))
    if not url.scheme:
        return None
    folder = Path(unquote(url.path))
    if url.scheme != "file" or not (folder / "pyproject.toml").is_file():
        raise HostError(
            f"pi-cluster was installed from {origin['url']}, which is no folder with its "
            "source any more: install it anew from a clone, or give wheels with --wheels"
        )
    if not origin.get("dir_info", {}).get("editable"):
        _check_unchanged(distribution, folder)
    return Source(folder, _fingerprint(folder))


def build_wheel(source: Source, machine: str, into: Path) -> None:
    """Build the wheel for a Linux machine with this processor: natively, or by a cross compiler.

    Raises ``HostError`` naming the compiler that is missing, or the end of what the build said.
    """
    words = [sys.executable, "-I", "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"]
    words += ["--no-deps", "--wheel-dir", str(into)]
    variables: dict[str, str] = {}
    # What a Mac compiles runs on Macs alone, though their processors are those of the hosts.
    if (sys.platform, platform.machine()) != ("linux", machine):
        compiler = _CROSS_COMPILERS.get(machine)
        if compiler is None or shutil.which(compiler) is None:
            raise HostError(_no_compiler_for(machine))
        toolchain = source.folder / "kernels" / f"{machine}.cmake"
        variables["CMAKE_ARGS"] = f"-DCMAKE_TOOLCHAIN_FILE={toolchain}"
        variables["_PYTHON_HOST_PLATFORM"] = f"linux-{machine}"
    with tempfile.TemporaryDirectory() as build:
        words += ["-C", f"build-dir={build}/build", str(source.folder)]
        environment = [f"{name}={value}" for name, value in variables.items()]
        try:
            done = subprocess.run(
                ["/usr/bin/env", *environment, *words],
                cwd=build,
                capture_output=True,
                text=True,
                timeout=_BUILD_TIMEOUT_S,
            )
        except subprocess.TimeoutExpired:
            raise HostError(f"building {source.folder} does not end: see `make wheels`") from None
    if done.returncode:
        said = "\n".join(f"  {line}" for line in done.stderr.strip().splitlines()[-8:])
        raise HostError(
            f"the wheel for {machine} cannot be built from {source.folder}:\n{said}\n"
            "see whether `make wheels` works there, or give wheels with --wheels"
        )


def check_kernels(wheel: Path) -> None:
    """Raise ``HostError`` for a wheel of Python alone, as is built where nothing compiles C."""
    if not has_kernels(wheel):
        raise HostError(
            f"{wheel.name} holds no kernels, so no host could run it: sudo apt install gcc "
            "libc6-dev on this machine, if it runs Linux; or give wheels that were built where "
            "there is a C compiler with --wheels"
        )


def has_kernels(wheel: Path) -> bool:
    """Whether a worker can be run from this wheel."""
    with zipfile.ZipFile(wheel) as file:
        return any(name.startswith(_KERNELS) for name in file.namelist())


def _no_compiler_for(machine: str) -> str:
    if sys.platform != "linux":
        return (
            f"wheels for the Pis ({machine}) are built on Linux: run `make wheels` in a clone on a "
            f"Linux machine with {machine}, a Pi for instance, and give its folder dist here with "
            "--wheels"
        )
    package = "gcc-aarch64-linux-gnu" if machine == "aarch64" else f"gcc-{machine}"
    return (
        f"building for the Pis ({machine}) on this {platform.machine()} machine needs a "
        f"cross compiler: sudo apt install {package} libc6-dev-arm64-cross; or give wheels "
        "that were built elsewhere with --wheels"
    )


def _fingerprint(folder: Path) -> str:
    """A digest of the files that wheels are made of."""
    digest = hashlib.sha256()
    for path in _files(folder):
        data = path.read_bytes()
        name = path.relative_to(folder).as_posix()
        digest.update(f"{name} {len(data)} {os.access(path, os.X_OK)}\n".encode())
        digest.update(data)
    return digest.hexdigest()


def _files(folder: Path) -> Iterator[Path]:
    yield folder / "pyproject.toml"
    for package in sorted(_packages(folder).values()):
        for path in sorted((folder / package).rglob("*")):
            is_made = "__pycache__" in path.parts or path.suffix in (".pyc", ".so")
            if path.is_file() and not is_made:
                yield path


def _packages(folder: Path) -> dict[str, str]:
    """Where the folders of a wheel come from: ``pi_cluster/worker`` from ``worker``."""
    values = tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))
    return dict(values["tool"]["scikit-build"]["wheel"]["packages"])


def _check_unchanged(distribution: importlib.metadata.Distribution, folder: Path) -> None:
    """The hosts must get the program that runs here."""
    packages = _packages(folder)
    for file in distribution.files or []:
        package = next((name for name in map(str, file.parents) if name in packages), None)
        if file.suffix != ".py" or package is None:
            continue
        source = folder / packages[package] / file.relative_to(package)
        if (
            not source.is_file()
            or source.read_bytes() != Path(str(distribution.locate_file(file))).read_bytes()
        ):
            raise HostError(
                f"{source} is not what is installed here any more: run `pip install {folder}` "
                "again, so that the hosts get what this machine runs"
            )
