"""What the kernels' benchmark gives its peer."""

import numpy as np

from benchmarks.kernels.layer_files import as_q4_0, random_q4
from pi_cluster.kernels import Matrix, unpack


def test_the_peer_gets_the_same_values_as_the_kernels():
    rows, columns = 32, 96
    packed = random_q4(rows, columns, seed=3)
    blocks = as_q4_0(packed, rows, columns).reshape(rows, columns // 32, 18)
    scales = np.ascontiguousarray(blocks[..., :2]).view(np.float16).astype(np.float32)
    levels = np.concatenate([blocks[..., 2:] & 15, blocks[..., 2:] >> 4], axis=-1)
    values = scales * (levels.astype(np.float32) - 8)
    assert np.array_equal(
        values.reshape(rows, columns), unpack(Matrix("q4", rows, columns, packed))
    )
