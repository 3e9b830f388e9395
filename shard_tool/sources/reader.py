"""What a source of weights must offer, whatever its format: tensors by name, read by rows.

``cluster/store/tensor_file.py`` does for safetensors. What the tensors are called there, and in
which order the rows of a head are, is a ``TensorForm`` of the family; ``tensors.py`` finds every
tensor of a model by it.
"""

from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class TensorFacts(Protocol):
    """What is known of a tensor before it is read."""

    @property
    def dtype(self) -> str:
        """The format's own name of it."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows first."""
        ...


class WeightFile(Protocol):
    """An open file of weights."""

    @property
    def path(self) -> Path:
        """Where it lies, to be named in messages."""
        ...

    def info(self, name: str) -> TensorFacts:
        """Look up one of its tensors."""
        ...

    def read_rows(self, name: str, start: int, stop: int) -> NDArray[np.float32]:
        """Read rows ``start`` up to but not including ``stop`` as float32, exactly.

        Shapes: of a tensor ``(rows, ...)``, the result is ``(stop - start, ...)``. Raises
        ``StoreError`` naming the file if it cannot be read.
        """
        ...
