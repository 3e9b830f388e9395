"""What a cache takes is counted in Python, for machines without the library: as C counts it."""

import ctypes

import pytest

from pi_cluster.kernels import LayerShape, compiled


@pytest.mark.parametrize("head_dim", [2, 16, 24, 64, 100, 128, 256])
@pytest.mark.parametrize(("n_heads", "n_kv_heads"), [(1, 1), (32, 8), (6, 3)])
@pytest.mark.parametrize("capacity", [64, 576, 4096 + 512])
def test_a_cache_takes_the_bytes_that_the_kernels_count(head_dim, n_heads, n_kv_heads, capacity):
    shape = LayerShape(64, 128, n_heads, n_kv_heads, head_dim, 1e-5, None, capacity)
    counted = compiled().kernels_cache_bytes(ctypes.byref(shape.heads(0)))
    assert shape.cache_bytes_per_layer == counted
