"""Options of the whole test run, and what tests of every kind use."""

import socket

import pytest


def pytest_addoption(parser):
    parser.addoption(
        "--fuzz-messages",
        type=int,
        default=300,
        help="How many random messages each method of a worker gets (make fuzz: 10000).",
    )


@pytest.fixture
def closed_port():
    """A port on which nobody listens, held so that nobody else gets it."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]
