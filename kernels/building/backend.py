"""The build backend: scikit-build-core, told to leave the kernels out where nothing compiles them.

Without a C compiler an operator's and coordinator's installation is made, of Python alone, whose
wheel fits every machine. A compiler that is there and fails ends the build: whoever has one may
want a worker. `CC`, a toolchain file in `CMAKE_ARGS` and `-C wheel.cmake=...` are always followed.
"""

import os
import shutil
import sys

from scikit_build_core import build as scikit_build
from scikit_build_core.build import build_sdist, get_requires_for_build_sdist

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]

Settings = dict[str, list[str] | str]

_COMPILERS = ("cc", "gcc", "clang")


def get_requires_for_build_wheel(config_settings: Settings | None = None) -> list[str]:
    """CMake and a build tool where they are needed and missing."""
    return scikit_build.get_requires_for_build_wheel(_decided(config_settings))


def get_requires_for_build_editable(config_settings: Settings | None = None) -> list[str]:
    """As for a wheel."""
    return scikit_build.get_requires_for_build_editable(_decided(config_settings))


def prepare_metadata_for_build_wheel(
    metadata_directory: str, config_settings: Settings | None = None
) -> str:
    """The metadata, whose tag says whether kernels come with it."""
    return scikit_build.prepare_metadata_for_build_wheel(
        metadata_directory, _decided(config_settings)
    )


def prepare_metadata_for_build_editable(
    metadata_directory: str, config_settings: Settings | None = None
) -> str:
    """As for a wheel."""
    return scikit_build.prepare_metadata_for_build_editable(
        metadata_directory, _decided(config_settings)
    )


def build_wheel(
    wheel_directory: str,
    config_settings: Settings | None = None,
    metadata_directory: str | None = None,
) -> str:
    """A wheel for this processor, or one without kernels for all."""
    return scikit_build.build_wheel(
        wheel_directory, _decided(config_settings, aloud=True), metadata_directory
    )


def build_editable(
    wheel_directory: str,
    config_settings: Settings | None = None,
    metadata_directory: str | None = None,
) -> str:
    """As a wheel, the sources staying where they are."""
    return scikit_build.build_editable(
        wheel_directory, _decided(config_settings, aloud=True), metadata_directory
    )


def _decided(settings: Settings | None, aloud: bool = False) -> Settings:
    """The settings, with a word on the kernels if they have none."""
    if sys.platform == "win32":
        sys.exit("pi-cluster does not run on Windows itself: install it within WSL")
    decided = dict(settings or {})
    if "wheel.cmake" in decided or _compiles():
        return decided
    if aloud:
        print(
            "pi-cluster: installing WITHOUT kernels, for there is no C compiler: this "
            "installation can plan, shard and ask, and run no worker. For a worker, on Linux: "
            "sudo apt install gcc libc6-dev, and install again",
            file=sys.stderr,
        )
    return decided | {"wheel.cmake": "false"}


def _compiles() -> bool:
    if os.environ.get("CC") or "CMAKE" in os.environ.get("CMAKE_ARGS", ""):
        return True
    # Only Linux runs workers. A Mac without its tools has a `cc` that asks to install them.
    return sys.platform == "linux" and any(map(shutil.which, _COMPILERS))
