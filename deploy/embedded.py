"""The model that travels inside the program, as a store in the user's cache folder."""

import contextlib
import shutil
import tempfile
from pathlib import Path

from pi_cluster.cluster import settings
from pi_cluster.cluster.errors import StoreError, VersionError
from pi_cluster.cluster.store.manifest import STORE_VERSION
from pi_cluster.cluster.store.store import Store, hash_file
from pi_cluster.kernels import packer
from pi_cluster.shard_tool.convert import shard
from pi_cluster.storyteller import checkpoint_path
from pi_cluster.transformer.formats import WeightFormats

_FORMATS = WeightFormats()


def embedded_store() -> Path:
    """Where the embedded model's store lies; made on first use, made anew when damaged.

    Its folder is named after what the weights are, so that several installations share it.
    """
    checkpoint = checkpoint_path()
    digest = hash_file(checkpoint / "model.safetensors")[:12]
    out = settings.folders().cache / f"storyteller-{_FORMATS.layers}-{digest}-v{STORE_VERSION}"
    if not _is_whole(out):
        _make(checkpoint, out)
    return out


def _make(checkpoint: Path, out: Path) -> None:
    """Write the store beside its place and move it there: two clusters may begin at once."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".making-") as folder:
        with packer(settings.kernel_variant()) as packing:
            shard(checkpoint, Path(folder) / out.name, _FORMATS, packing)
        try:
            (Path(folder) / out.name).rename(out)
        except OSError:
            if _is_whole(out):
                return
            shutil.rmtree(out)
            (Path(folder) / out.name).rename(out)


def _is_whole(folder: Path) -> bool:
    with contextlib.suppress(StoreError, VersionError):
        return not Store(folder).verify()
    return False
