"""One GGUF file, open: its tensors by rows, as ggml's own blocks or as float32."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from pi_cluster.cluster.errors import StoreError
from pi_cluster.cluster.store.tensor_file import read_into
from pi_cluster.shard_tool.gguf.decoding import decoded
from pi_cluster.shard_tool.gguf.header import TensorPlace


class GgufFile:
    """Reads from the file rather than a mapping, so that memory holds the rows and no more.

    Raises ``StoreError`` naming the file.
    """

    def __init__(self, path: Path, tensors: Mapping[str, TensorPlace]) -> None:
        self.path = path
        self._tensors = tensors
        try:
            self._descriptor = os.open(path, os.O_RDONLY)
        except OSError as error:
            raise StoreError(f"cannot open {path}: {error.strerror}") from error

    def info(self, name: str) -> TensorPlace:
        """Look up one of its tensors."""
        return self._tensors[name]

    def read_rows(self, name: str, start: int, stop: int) -> NDArray[np.float32]:
        """Rows ``start`` up to but not including ``stop`` as float32.

        Shapes: ``(stop - start, columns)``, or of a vector ``(stop - start,)``.
        """
        place = self.info(name)
        columns = place.shape[1] if len(place.shape) == 2 else 1
        return decoded(place.type, self.read_blocks(name, start, stop), columns).reshape(
            stop - start, *place.shape[1:]
        )

    def read_blocks(self, name: str, start: int, stop: int) -> NDArray[np.uint8]:
        """The same rows as they lie there. Shapes: ``(stop - start, bytes of a row)``."""
        place = self.info(name)
        row_bytes = place.size_bytes // place.shape[0]
        blocks = np.empty((stop - start, row_bytes), np.uint8)
        offset = place.offset + start * row_bytes
        read_into(self.path, self._descriptor, blocks.reshape(-1).data, offset)
        return blocks

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()
