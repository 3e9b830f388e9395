"""Operating system, Python, the installed wheel and the kernels of one node."""

import re
from collections.abc import Iterator

from pi_cluster.deploy.doctor.facts import Examined
from pi_cluster.deploy.doctor.findings import Finding, note, problem, warning
from pi_cluster.deploy.doctor.requirements import OLDEST_PYTHON, PYTHON_NEEDED

OLDEST_DEBIAN = 12  # the first one whose Python, 3.11, can run pi-cluster
OLDEST_UBUNTU = 22  # 20.04 gets no more standard updates since May 2025

_32_BIT = re.compile(r"armv[678]l|armhf|i[3-6]86")
_64_BIT_IMAGE = "write Raspberry Pi OS (64-bit) to the card with Raspberry Pi Imager"
_WITH_DOT_PRODUCT = ("Raspberry Pi 5", "Raspberry Pi Compute Module 5")  # 500 too: Cortex-A76


def operating_system(node: Examined) -> Iterator[Finding]:
    """32-bit systems, and those too old for what is installed on them."""
    examination = node.examination
    # A 64-bit kernel may carry a 32-bit system: Raspbian is what such a one is called.
    words = f"{examination.architecture} {examination.wheel}"
    if _32_BIT.search(words) or "Raspbian" in examination.system:
        yield problem(
            node.name,
            f"the operating system is 32-bit ({examination.system}, {examination.architecture}): "
            "a process has room for 3 GiB at most, and the kernels are slow",
            _64_BIT_IMAGE,
        )
    for name, oldest in (("Debian GNU/Linux", OLDEST_DEBIAN), ("Ubuntu", OLDEST_UBUNTU)):
        found = re.match(rf"{name} (\d{{1,4}})", examination.system)
        if found and int(found[1]) < oldest:
            yield warning(
                node.name,
                f"{examination.system} is old; {name} {oldest} is the oldest that pi-cluster is "
                "made for",
                _64_BIT_IMAGE,
            )


def python(node: Examined) -> Iterator[Finding]:
    """A Python that is older than what pi-cluster is made for."""
    version = _numbers(node.examination.python)
    if version and version < OLDEST_PYTHON:
        yield problem(
            node.name,
            f"Python {node.examination.python} is too old: {PYTHON_NEEDED}",
            _64_BIT_IMAGE,
        )


def wheel(node: Examined) -> Iterator[Finding]:
    """A wheel of another architecture, or none."""
    examination = node.examination
    platform = examination.wheel.rpartition("-")[2]
    if not examination.wheel:
        yield note(
            node.name,
            "pi-cluster was not installed from a wheel, so it cannot be said what it was built for",
            "nothing, if it is a clone of the repository; else install it again",
        )
    elif examination.architecture and not platform.endswith(examination.architecture):
        yield problem(
            node.name,
            f"the wheel {examination.wheel} is not made for {examination.architecture}",
            "install pi-cluster again on that node: its kernels cannot be used as they are",
        )


def kernels(node: Examined) -> Iterator[Finding]:
    """Kernels slower than the processor allows."""
    used, examination = node.about.kernels, node.examination
    expected = _expected_kernels(examination.architecture, examination.model)
    is_slower = used == "portable" or (used == "neon" and expected == "neon-dotprod")
    if is_slower and expected:
        yield warning(
            node.name,
            f"the kernels in use are {used!r}, where {expected!r} is expected of "
            f"{examination.model or examination.architecture}: several times slower",
            "remove PI_CLUSTER_KERNELS from the worker's environment, and install pi-cluster "
            "again if that is not set",
        )


def _expected_kernels(architecture: str, model: str) -> str:
    if architecture == "x86_64":
        return "avx2"
    if architecture != "aarch64":
        return ""
    is_newer = model.startswith(_WITH_DOT_PRODUCT) or model.startswith("Raspberry Pi 500")
    return "neon-dotprod" if is_newer else "neon"


def _numbers(version: str) -> tuple[int, ...]:
    found = re.match(r"(\d{1,4})\.(\d{1,4})", version)
    return (int(found[1]), int(found[2])) if found else ()
