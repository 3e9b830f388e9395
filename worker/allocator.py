"""What a step or a shard held goes back to the system, not into the C library's keeping.

Both functions do nothing where the C library is not glibc.
"""

import contextlib
import ctypes

LARGE_BYTES = 256 << 10  # hidden states of many rows, parts of shards; not the work of one token

_M_MMAP_THRESHOLD = -3  # malloc.h of glibc


def map_large_blocks() -> None:
    """Have large blocks mapped one by one, and unmapped when they are freed.

    Left alone, glibc raises its threshold to the largest block it has seen freed, and from then on
    cuts messages of that size out of arenas, one a thread, which keep what they once took.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES)


def return_free_pages() -> None:
    """Give back what lies free between small blocks, such as gRPC's pieces of a large message.

    Takes milliseconds, so it is for after large work.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
