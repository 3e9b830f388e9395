"""Options of the whole test run, and what tests of every kind use."""

import socket

import hypothesis
import pytest

# What is drawn is the same on each run, and a busy machine fails nothing.
hypothesis.settings.register_profile("alike", deadline=None, derandomize=True)
hypothesis.settings.load_profile("alike")


def pytest_addoption(parser):
    parser.addoption(
        "--fuzz-messages",
        type=int,
        default=300,
        help="How many random messages each method of a worker gets (make fuzz: 10000).",
    )


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """As `tests/support/distribution.py` says, unless another way was asked for by name."""
    from tests.support.distribution import ByWhatIsShared  # here, since one may do without xdist

    if config.getvalue("dist") != "load":
        return None
    config.option.loadscopereorder = False  # by the number of tests, the longest would come last
    return ByWhatIsShared(config, log)


@pytest.fixture
def closed_port():
    """A port on which nobody listens, held so that nobody else gets it."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]
