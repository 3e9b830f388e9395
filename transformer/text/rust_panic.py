"""Libraries in Rust give up by an exception that nobody catches by accident."""

from collections.abc import Iterator
from contextlib import contextmanager


class RustPanic(Exception):
    """A library came into a state that it did not expect. Its message is the library's own."""


@contextmanager
def panics_as_errors() -> Iterator[None]:
    """Within, a panic is raised as `RustPanic`.

    PyO3 derives it from ``BaseException``, past every handler of errors, and its class can be
    imported from nowhere.
    """
    try:
        yield
    except BaseException as error:
        if type(error).__module__ == "pyo3_runtime":
            raise RustPanic(str(error)) from None
        raise
