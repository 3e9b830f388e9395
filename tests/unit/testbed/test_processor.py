"""Tests force only what the processor under them can run."""

from tests.support.processor import blas_kernels

AVX2_ONLY = """processor\t: 0
model name\t: AMD EPYC 7B13
flags\t\t: fpu sse sse2 pni ssse3 fma sse4_1 sse4_2 avx f16c avx2 bmi1 bmi2
"""


def test_no_kernel_is_forced_that_a_processor_without_avx512_would_die_of():
    assert blas_kernels(AVX2_ONLY) == ["Prescott", "Haswell", "Zen"]


def test_every_kernel_is_tried_where_avx512_is_whole():
    with_avx512 = AVX2_ONLY.rstrip() + " avx512f avx512cd avx512bw avx512dq avx512vl\n"
    assert blas_kernels(with_avx512)[-1] == "SkylakeX"
    without_one = with_avx512.replace(" avx512dq", "")
    assert "SkylakeX" not in blas_kernels(without_one)
