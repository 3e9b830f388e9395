"""How arrays cross the network."""

import numpy as np
from numpy.typing import NDArray

from pi_cluster.cluster.errors import NodeError


def pack(array: NDArray[np.generic]) -> bytes:
    """The array's elements, little-endian, row after row."""
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def unpack_floats(data: bytes, columns: int) -> NDArray[np.float32]:
    """Rows of ``columns`` float32 each. Raises ``NodeError`` when the bytes are no whole rows."""
    if columns < 1 or len(data) % (4 * columns):
        raise NodeError(f"{len(data)} bytes are no whole rows of {columns} numbers")
    return np.frombuffer(data, "<f4").astype(np.float32, copy=False).reshape(-1, columns)


def unpack_ids(data: bytes) -> NDArray[np.int32]:
    """Token ids. Raises ``NodeError`` when the bytes are no whole numbers."""
    if len(data) % 4:
        raise NodeError(f"{len(data)} bytes are no whole token ids")
    return np.frombuffer(data, "<i4").astype(np.int32, copy=False)
