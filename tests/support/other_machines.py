"""The command as it runs on a machine without the compiled library, or on none that is Linux."""

from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from tests.support.cluster_process import Cluster

_HOOK = Path(__file__).parent / "hidden"

NO_KERNELS = "kernels"
MAC = "kernels,linux"
"""As far as it can be had: what Linux has alone is missing, and the platform is called darwin."""


@contextmanager
def operator_on(cluster: Cluster, hidden: str):
    """Within the block commands of a cluster run so; what was started before goes on as it is."""
    with mock.patch.dict(cluster.env, PYTHONPATH=str(_HOOK), HIDDEN=hidden):
        yield cluster
