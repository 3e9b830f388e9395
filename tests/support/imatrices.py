"""Importance files as llama.cpp's ``llama-imatrix`` writes them, by the gguf package."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray

from pi_cluster.shard_tool.importance.importance import weighable
from pi_cluster.transformer.config import ModelConfig
from tests.support.gguf_models import gguf_name

TOKENS = 1_024
Sums = dict[str, NDArray[np.float32]]


def random_sums(config: ModelConfig, seed: int = 0) -> Sums:
    """Sums of squares by llama.cpp's names, as of so many tokens."""
    numbers = np.random.default_rng(seed)
    return {
        gguf_name(name): (numbers.chisquare(1, columns) * TOKENS).astype(np.float32)
        for name, columns in weighable(config).items()
    }


def write_imatrix(
    path: Path,
    sums: Mapping[str, NDArray[Any]],
    *,
    counts: Mapping[str, NDArray[Any]] | None = None,
    kind: str | None = "imatrix",
) -> None:
    """Write a file. ``counts`` takes the place of the usual ones; an empty one is left out."""
    writer = gguf.GGUFWriter(path, "unused")
    writer.kv_data[0].clear()
    if kind is not None:
        writer.add_string("general.type", kind)
    writer.add_array("imatrix.datasets", ["text.txt"])
    writer.add_uint32("imatrix.chunk_count", 2)
    writer.add_uint32("imatrix.chunk_size", TOKENS // 2)
    for name, values in sums.items():
        count = (counts or {}).get(name, np.full((1, 1), TOKENS, np.float32))
        writer.add_tensor(f"{name}.in_sum2", values)
        if count.size:
            writer.add_tensor(f"{name}.counts", count)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
