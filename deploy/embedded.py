"""The model that travels inside the program, as a store in the user's cache folder."""

from pathlib import Path

from cluster import settings
from shard_tool.convert import shard
from storyteller import checkpoint_path

_WEIGHTS = "f32"  # exact, and still only 24 MB


def embedded_store() -> Path:
    """Where the embedded model's store lies; made on first use, mended when damaged."""
    out = settings.folders().cache / f"storyteller-{_WEIGHTS}"
    shard(checkpoint_path(), out, _WEIGHTS)
    return out
