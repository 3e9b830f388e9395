"""Errors of the kernels.

* KernelsError
  + ShapeError   an array or a matrix is not what the operation takes   a bug, or a torn file
"""


class KernelsError(Exception):
    """The library, or a variant of it, cannot be had on this machine."""


class ShapeError(KernelsError):
    """A size, format or position that the kernels cannot take; the message names it."""
