"""A node's profile: measured once and kept, unless its firmware slowed it meanwhile."""

import contextlib

import pytest

from pi_cluster.cluster.errors import PipelineBusy
from pi_cluster.worker.identity import NodeFile, load_identity, save_identity
from pi_cluster.worker.machine.speed import ProfileKeeper
from tests.support.kernel_engines import EVERY_VARIANT, engine
from tests.support.machines import pi_5, write_files

FLAGS = "sys/devices/platform/soc@107c000000/soc@107c000000:firmware/get_throttled"
WELL, THROTTLED = "70000", "70004"  # it has been slowed since it booted; it is now


@contextlib.contextmanager
def while_a_session_runs():
    raise PipelineBusy("a session runs")
    yield


@pytest.fixture
def node(tmp_path):
    """A Pi that is measured with the first kernels, and what makes it hot or cool."""
    root = pi_5(tmp_path / "root")
    save_identity(tmp_path, NodeFile("a1"))
    keeper = ProfileKeeper(tmp_path, load_identity(tmp_path), engine(EVERY_VARIANT[0]), root)
    return keeper, lambda flags: write_files(root, {FLAGS: flags})


def test_a_profile_is_measured_once_and_is_there_at_the_next_start(tmp_path, node):
    keeper, flags = node
    flags(WELL)
    measured = keeper.profile(contextlib.nullcontext)
    assert keeper.stored == measured == load_identity(tmp_path).profile
    flags(THROTTLED)
    assert keeper.profile(while_a_session_runs) == measured


def test_what_was_measured_in_the_heat_holds_for_so_long_and_is_not_kept(tmp_path, node):
    keeper, flags = node
    flags(THROTTLED)
    hot = keeper.profile(contextlib.nullcontext)
    assert keeper.profile(while_a_session_runs) == hot
    assert keeper.stored is None and load_identity(tmp_path).profile is None
    flags(WELL)
    assert keeper.profile(while_a_session_runs) == hot, "the best that is known for now"
    cool = keeper.profile(contextlib.nullcontext)
    assert keeper.stored == cool == load_identity(tmp_path).profile
