"""What the processor under the tests can run."""

import platform
from pathlib import Path

# Instruction sets by OpenBLAS's kernels that use them (its DYNAMIC_ARCH list), in /proc/cpuinfo's
# words. It checks nothing where it is told a kernel: one that is missing ends the process.
_NEEDED_BY_BLAS_KERNEL = {
    "Prescott": {"pni"},
    "Haswell": {"avx2", "fma"},
    "Zen": {"avx2", "fma"},
    "SkylakeX": {"avx2", "fma", "avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl"},
}


def blas_kernels_here() -> list[str]:
    """OpenBLAS's kernels that this processor can run, slowest first; none unless it is an x86."""
    if platform.machine() != "x86_64":
        return []
    return blas_kernels(Path("/proc/cpuinfo").read_text())


def blas_kernels(cpuinfo: str) -> list[str]:
    """Those that an x86 can run of which the system tells this."""
    flags = _x86_flags(cpuinfo)
    return [name for name, needed in _NEEDED_BY_BLAS_KERNEL.items() if needed <= flags]


def _x86_flags(cpuinfo: str) -> set[str]:
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "flags":
            return set(value.split())
    raise AssertionError("/proc/cpuinfo lists no flags")
