"""The operator's own machine, for `pi-cluster doctor`."""

import platform
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from pi_cluster.cluster import settings
from pi_cluster.cluster.version import VERSION
from pi_cluster.deploy.doctor.facts import OperatorFacts

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_MOST_KEYS = 100


def own_facts(cluster: str, heard: tuple[str, ...], mdns_error: str) -> OperatorFacts:
    """What matters of this machine; ``heard`` and ``mdns_error`` are what mDNS brought."""
    folder = _existing(settings.folders().data)
    return OperatorFacts(
        version=VERSION,
        python=platform.python_version(),
        ssh=shutil.which("ssh") or "",
        heard=heard,
        mdns_error=mdns_error,
        exposed_keys=tuple(_exposed(settings.cluster_config(cluster))),
        free_disk_bytes=shutil.disk_usage(folder).free,
        disk_folder=folder,
    )


def _exposed(folder: Path) -> Iterator[Path]:
    """The folder and those of its keys that group or others may open."""
    if not folder.is_dir():
        return
    for path in (folder, *sorted(folder.glob("*.key"))[:_MOST_KEYS]):
        if path.stat().st_mode & _OTHERS:
            yield path


def _existing(folder: Path) -> Path:
    """The folder, or the nearest above it that exists already."""
    return next(place for place in (folder, *folder.parents) if place.exists())
