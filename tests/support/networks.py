"""Whether this machine can have an emulated network, for tests that need one."""

import pytest

from tests.testbed.network.network import NetworkError, check_possible


def _why_not() -> str:
    try:
        check_possible()
    except NetworkError as error:
        return str(error)
    return ""


needs_network = pytest.mark.skipif(bool(_why_not()), reason=_why_not())
"""Marks a test that emulates a network."""
