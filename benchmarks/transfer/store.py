"""A store of random bytes: nothing can be loaded from it, but it can be handed out."""

import hashlib
import itertools
import os
from pathlib import Path

from pi_cluster.cluster.layer_range import LayerRange
from pi_cluster.cluster.store.manifest import (
    EMBEDDING_NAME,
    HEAD_NAME,
    Manifest,
    ShardFile,
    layer_file_name,
)
from pi_cluster.cluster.store.store import MANIFEST_NAME, Store

_BLOCK_BYTES = 1 << 20
_OUTER_BYTES = 1000


def make_store(folder: Path, layers: int, layer_bytes: int) -> Store:
    """``layers`` files of ``layer_bytes`` each, and an embedding and a head of next to nothing."""
    folder.mkdir()
    sizes = {EMBEDDING_NAME: _OUTER_BYTES, HEAD_NAME: _OUTER_BYTES}
    sizes |= {layer_file_name(layer): layer_bytes for layer in range(layers)}
    files = tuple(_random_file(folder / name, size) for name, size in sizes.items())
    manifest = Manifest("q4", "q8", {}, bos_id=1, eos_ids=(2,), files=files)
    (folder / MANIFEST_NAME).write_text(manifest.to_json())
    return Store(folder)


def even_ranges(layers: int, nodes: int) -> list[LayerRange]:
    """As many layers for each node."""
    bounds = [layers * node // nodes for node in range(nodes + 1)]
    return [LayerRange(*pair) for pair in itertools.pairwise(bounds)]


def _random_file(path: Path, size_bytes: int) -> ShardFile:
    digest, left = hashlib.sha256(), size_bytes
    with path.open("wb") as file:
        while left:
            block = os.urandom(min(left, _BLOCK_BYTES))
            digest.update(block)
            file.write(block)
            left -= len(block)
    return ShardFile(path.name, size_bytes, digest.hexdigest())
