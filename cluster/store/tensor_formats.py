"""The format of every tensor of a store, as its manifest lists them.

Layers that follow each other and have the same formats are one entry of the list, with a count.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Self

from pi_cluster.cluster.errors import StoreError, VersionError

FORMATS = ("f32", "f16", "q8", "q4", "q4_1", "q4k", "q4n")
"""Formats of tensors."""

TensorFormats = Mapping[str, str]
"""Of each tensor of a shard file, by its name in there."""

MAX_LAYERS = 4_096
_MAX_TENSORS = 64
_TENSOR_NAME = re.compile(r"[a-z0-9_.]{1,80}")
_COUNT, _TENSORS = "count", "tensors"


@dataclass(frozen=True, slots=True)
class StoreFormats:
    """The formats in each of a store's files, valid from birth (else ``StoreError``).

    Raises ``VersionError`` for a format that this pi-cluster does not know.
    """

    embedding: TensorFormats
    layers: tuple[TensorFormats, ...]
    head: TensorFormats

    def __post_init__(self) -> None:
        if len(self.layers) > MAX_LAYERS:
            raise StoreError(f"it has formats of {len(self.layers)} layers")
        for formats in (self.embedding, self.head, *self.layers):
            _check(formats)

    @property
    def of_matrices(self) -> tuple[str, ...]:
        """The formats of the layers' matrices, the most frequent first.

        Vectors are in f32, so that this counts only where there is nothing else.
        """
        counts = Counter(form for layer in self.layers for form in layer.values())
        forms = [form for form, _ in counts.most_common()]
        return tuple(form for form in forms if form != "f32" or len(forms) == 1)

    def to_dict(self) -> dict[str, Any]:
        """As a manifest has them."""
        runs = [(formats, len(list(run))) for formats, run in groupby(self.layers, dict)]
        layers = [{_COUNT: count, _TENSORS: formats} for formats, count in runs]
        return {"embedding": dict(self.embedding), "layers": layers, "head": dict(self.head)}

    @classmethod
    def from_dict(cls, values: object) -> Self:
        """Read what ``to_dict`` returned, trusting nothing in it."""
        if not isinstance(values, dict) or values.keys() != {"embedding", "layers", "head"}:
            raise StoreError("its formats are not those of embedding, layers and head")
        layers: list[TensorFormats] = []
        for entry in _entries(values["layers"]):
            count = entry[_COUNT]
            if type(count) is not int or not 1 <= count <= MAX_LAYERS - len(layers):
                raise StoreError(f"its formats name {count!r} layers")
            layers += [entry[_TENSORS]] * count
        return cls(values["embedding"], tuple(layers), values["head"])


def _entries(values: object) -> Sequence[dict[str, Any]]:
    if not isinstance(values, list):
        raise StoreError("its formats of layers are no list")
    for entry in values:
        if not isinstance(entry, dict) or entry.keys() != {_COUNT, _TENSORS}:
            raise StoreError(f"its formats of layers are no list of {_COUNT} and {_TENSORS}")
    return values


def _check(formats: object) -> None:
    if not isinstance(formats, Mapping) or not 0 < len(formats) <= _MAX_TENSORS:
        raise StoreError("its formats of a file are no list of tensors")
    for name, form in formats.items():
        if not isinstance(name, str) or not _TENSOR_NAME.fullmatch(name):
            raise StoreError("its formats name a tensor that no store has")
        if not isinstance(form, str):
            raise StoreError(f"its format of {name} is no text")
        if form not in FORMATS:
            raise VersionError(
                f"this store has {name} in the format {form[:40]!r}, and this pi-cluster knows "
                f"{', '.join(FORMATS)}: update pi-cluster"
            )
