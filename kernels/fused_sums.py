"""Sums of products of float32 as a chain of fused multiply-adds gives them, in numpy."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

_F32, _F64 = np.float32, np.float64
_F64_BELOW_F32 = np.uint64((1 << 29) - 1)
_F64_HALF_WAY = np.uint64(1 << 28)
_LEAST_NORMAL = 2.0**-125


def sum_of_products(a: Array, b: Array) -> Array:
    """``a * b`` summed over the rows in order, each step a fused multiply-add of float32.

    Shapes: both ``(rows, n)`` -> ``(n,)``.
    """
    products = np.multiply(a, b, dtype=_F64)  # exact: twice 24 bits
    sums = np.empty_like(products)
    total = np.zeros(a.shape[1], _F32)
    for product, step in zip(products, sums, strict=True):
        np.add(product, total, out=step)
        total = step.astype(_F32)
    doubtful = np.flatnonzero(_may_be_rounded_twice(sums).any(axis=0))
    if len(doubtful):
        total[doubtful] = _sum_rounded_once(products[:, doubtful])
    return total


def _may_be_rounded_twice(sums: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Where rounding to float64 and then to float32 may differ from rounding to float32.

    That is half-way between two float32, or where these lie less densely.
    """
    half_way: NDArray[np.bool_] = (sums.view(np.uint64) & _F64_BELOW_F32) == _F64_HALF_WAY
    half_way |= (np.abs(sums) < _LEAST_NORMAL) & (sums != 0)
    return half_way


def _sum_rounded_once(products: NDArray[np.float64]) -> Array:
    """As :func:`sum_of_products`, by rounding to odd in between.

    Source: Boldo and Melquiond, Emulation of FMA and Correctly Rounded Sums, 2008.
    """
    total = np.zeros(products.shape[1], _F32)
    for product in products:
        wide = total.astype(_F64)
        rounded = product + wide
        # What rounding lost, exactly (Knuth's two-sum).
        other = rounded - product
        lost = (product - (rounded - other)) + (wide - other)
        bits = rounded.view(np.int64)
        is_even = (bits & 1) == 0
        # Away from zero where what was lost has the sign of the sum, else towards it.
        outwards = np.where((lost > 0) == (rounded > 0), 1, -1)
        bits += np.where((lost != 0) & is_even, outwards, 0)
        total = rounded.astype(_F32)
    return total
