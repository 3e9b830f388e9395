"""The kernels built for aarch64 and run by qemu return the bits that they return here.

Needs cmake, qemu-aarch64 and aarch64-linux-gnu-gcc (apt: qemu-user gcc-aarch64-linux-gnu).
"""

import shutil
import subprocess
from pathlib import Path

import pytest

from pi_cluster.kernels import variants

SOURCES = Path(__file__).parents[2] / "kernels"
NEEDED = ("cmake", "qemu-aarch64", "aarch64-linux-gnu-gcc")
MISSING = [tool for tool in NEEDED if shutil.which(tool) is None]

pytestmark = [
    pytest.mark.arm,
    pytest.mark.skipif(bool(MISSING), reason=f"{', '.join(MISSING)} not installed"),
    pytest.mark.timeout(300),
]


def output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=200).stdout


def build(folder, *options):
    output("cmake", "-S", str(SOURCES), "-B", str(folder), *options)
    output("cmake", "--build", str(folder), "--target", "hashes", "--parallel", "2")
    return str(folder / "hashes")


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    return build(tmp_path_factory.mktemp("here"))


@pytest.fixture(scope="module")
def expected(program):
    return output(program, "portable")


@pytest.fixture(scope="module")
def arm_program(tmp_path_factory):
    toolchain = f"-DCMAKE_TOOLCHAIN_FILE={SOURCES / 'aarch64.cmake'}"
    return build(tmp_path_factory.mktemp("arm"), toolchain)


@pytest.mark.parametrize(
    ("cpu", "names"),
    [
        ("cortex-a72", ["neon", "portable"]),
        ("cortex-a76", ["neon-dotprod", "neon", "portable"]),
        ("max,pauth-impdef=on", ["neon-i8mm", "neon-dotprod", "neon", "portable"]),
    ],
)
def test_arm_variants_are_chosen_by_cpu_and_return_the_same_bits(cpu, names, arm_program, expected):
    """An instruction that the CPU lacks ends the program with SIGILL."""
    emulated = ("qemu-aarch64", "-cpu", cpu, arm_program)
    assert output(*emulated).split() == names
    assert expected.count("\n") == 211
    for name in names:
        assert output(*emulated, name) == expected


def test_the_variants_of_this_machine_print_the_same_hashes(program, expected):
    assert tuple(output(program).split()) == variants()
    for name in variants():
        assert output(program, name) == expected
