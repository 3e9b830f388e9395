"""What `serve` says where its extra is not installed."""

import subprocess
import sys
import tomllib

import pytest

from pi_cluster.deploy.failure import _SERVING
from tests.support.own_sources import ROOT

# As if one of the packages were not there.
WITHOUT = """
import sys
sys.modules[sys.argv.pop(1)] = None
from pi_cluster.deploy.__main__ import main
main()
"""


@pytest.mark.parametrize("module", ["starlette", "msgspec", "prometheus_client", "uvicorn"])
def test_what_is_not_installed_is_named_with_the_command_that_installs_it(module):
    words = [sys.executable, "-c", WITHOUT, module, "serve"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "internal error" not in done.stderr
    assert f"to serve takes {_SERVING[module]}, which is not installed" in done.stderr
    assert f"{sys.executable} -m pip install " in done.stderr


def test_the_packages_are_those_of_the_extra():
    extra = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert sorted(_SERVING.values()) == sorted(one.partition(">")[0] for one in extra["serve"])
