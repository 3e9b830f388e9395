"""The model that travels inside the program, as a store in the user's cache folder."""

import contextlib
import shutil
from pathlib import Path

from cluster import settings
from cluster.errors import StoreError, VersionError
from cluster.manifest import STORE_VERSION
from cluster.store import Store, hash_file
from shard_tool.convert import shard
from storyteller import checkpoint_path

_WEIGHTS = "f32"  # exact, and still only 24 MB


def embedded_store() -> Path:
    """Where the embedded model's store lies; made on first use, made anew when damaged.

    Its folder is named after what the weights are, so that several installations share it.
    """
    checkpoint = checkpoint_path()
    digest = hash_file(checkpoint / "model.safetensors")[:12]
    out = settings.folders().cache / f"storyteller-{_WEIGHTS}-{digest}-v{STORE_VERSION}"
    if not _is_whole(out):
        shutil.rmtree(out, ignore_errors=True)
        shard(checkpoint, out, _WEIGHTS)
    return out


def _is_whole(folder: Path) -> bool:
    with contextlib.suppress(StoreError, VersionError):
        return not Store(folder).verify()
    return False
