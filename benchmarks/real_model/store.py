"""The store that ``pi-cluster shard`` makes of the model."""

from pathlib import Path

from pi_cluster.kernels import Packer
from pi_cluster.shard_tool import convert
from pi_cluster.transformer.formats import WeightFormats


def shard_into(store: Path, gguf: Path, packer: Packer) -> None:
    """Make it. The file's quantised tensors keep their values, whatever is chosen."""
    convert.shard(gguf, store, WeightFormats.choose("q4", None), packer)
