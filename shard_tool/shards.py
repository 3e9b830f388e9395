"""The files of a store: which tensors each holds, how large it becomes, and the writing of one."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from pi_cluster.cluster.atomic_file import AtomicFile
from pi_cluster.cluster.errors import CheckpointError
from pi_cluster.cluster.store.manifest import EMBEDDING_NAME, HEAD_NAME, ShardFile, layer_file_name
from pi_cluster.cluster.store.tensor_formats import StoreFormats, TensorFormats
from pi_cluster.cluster.store.tensor_writing import TensorSource, file_size_bytes, write_tensor_file
from pi_cluster.kernels import SEARCHED_FORMATS, Packer, ShapeError
from pi_cluster.shard_tool.importance.importance import (
    Array,
    Importance,
    ImportanceSource,
    weighable,
)
from pi_cluster.shard_tool.sources.block_tensor import BlockTensor
from pi_cluster.shard_tool.sources.checkpoint import Checkpoint
from pi_cluster.shard_tool.sources.names import layer_tensor
from pi_cluster.shard_tool.sources.source_tensor import SourceTensor
from pi_cluster.transformer.formats import (
    WeightFormats,
    embedding_formats,
    head_formats,
    layer_formats,
    stored_as,
)

_FLOAT16_LIMIT = 65_520.0  # from here on, rounding to nearest gives infinity

Tensor = SourceTensor | BlockTensor

OnBytes = Callable[[int], None]
"""Told how many more bytes of the file are on disk."""


@dataclass(frozen=True, slots=True)
class _Part:
    """A tensor of a file: its whole name, where it comes from, and its format in the store."""

    whole_name: str
    tensor: Tensor
    form: str


@dataclass(frozen=True, slots=True)
class ShardWriter:
    """Writes the files of one store, each from its part of the checkpoint."""

    checkpoint: Checkpoint
    folder: Path
    formats: WeightFormats
    packer: Packer
    importance: Importance | None = None

    def weighed_by(self, source: ImportanceSource) -> Self:
        """The same with what ``source`` knows of the columns.

        Raises ``CheckpointError`` where that would change no byte of the store.
        """
        if not self._searched():
            raise CheckpointError(
                f"importance is of no use to this store: only {' and '.join(SEARCHED_FORMATS)} "
                "search for scales, and what is quantised in a GGUF keeps its values. Leave "
                "--imatrix and --calibrate out, or name other --weights"
            )
        return replace(self, importance=source.importance(self.checkpoint))

    def notes_on_importance(self) -> list[str]:
        """Sentences on matrices that could be weighed, and are not."""
        return [
            f"nothing is known of what the columns of {name} count: they count alike"
            for name in self._searched()
            if self.importance and self.importance.of(name) is None
        ]

    def planned_sizes(self) -> dict[str, int]:
        """Bytes of every file of the store to be, in the order in which they are written."""
        files = self.checkpoint.tokenizer_files
        sizes = {name: path.stat().st_size for name, path in files.items()}
        for file_name in self._files():
            sizes[file_name] = file_size_bytes(self._sources(file_name, _ignore))
        return sizes

    def store_formats(self) -> StoreFormats:
        """The format of every tensor of the store to be."""
        config, wanted, own = self.checkpoint.config, self.formats, self.checkpoint.formats

        def outer(formats: TensorFormats) -> TensorFormats:
            return {name: own.get(name, form) for name, form in formats.items()}

        layers = []
        for index in range(config.n_layers):
            of_layer = layer_formats(config, index, wanted)
            layers.append(
                {name: own.get(layer_tensor(index, name), form) for name, form in of_layer.items()}
            )
        return StoreFormats(
            embedding=outer(embedding_formats(config, wanted)),
            layers=tuple(layers),
            head=outer(head_formats(config, wanted)),
        )

    def write(self, file_name: str, on_bytes: OnBytes) -> ShardFile:
        """Write one file of the store.

        Raises ``CheckpointError`` for a weight that its format cannot hold, ``StoreError`` if the
        file cannot be written.
        """
        path = self.folder / file_name
        if file_name in self.checkpoint.tokenizer_files:
            return _copy(self.checkpoint.tokenizer_files[file_name], path, on_bytes)
        written = write_tensor_file(path, self._sources(file_name, on_bytes))
        return ShardFile(file_name, written.size_bytes, written.sha256)

    def _files(self) -> dict[str, dict[str, _Part]]:
        """Of each file the tensors by their names in there."""
        formats, tensors = self.store_formats(), self.checkpoint.tensors

        def outer(of_file: TensorFormats) -> dict[str, _Part]:
            return {name: _Part(name, tensors[name], form) for name, form in of_file.items()}

        def of_layer(index: int, of_file: TensorFormats) -> dict[str, _Part]:
            whole = {name: layer_tensor(index, name) for name in of_file}
            return {
                name: _Part(whole[name], tensors[whole[name]], form)
                for name, form in of_file.items()
            }

        layers = {
            layer_file_name(index): of_layer(index, of_file)
            for index, of_file in enumerate(formats.layers)
        }
        return {EMBEDDING_NAME: outer(formats.embedding), **layers, HEAD_NAME: outer(formats.head)}

    def _searched(self) -> list[str]:
        """The matrices for which importance is of use, by Mistral's whole names."""
        parts = [part for file in self._files().values() for part in file.values()]
        multiplying = weighable(self.checkpoint.config)
        return [
            part.whole_name
            for part in parts
            if part.form in SEARCHED_FORMATS
            and part.whole_name in multiplying
            and isinstance(part.tensor, SourceTensor)
        ]

    def _sources(self, file_name: str, on_bytes: OnBytes) -> list[TensorSource]:
        sources = []
        for name, part in self._files()[file_name].items():
            dtype, shape = stored_as(part.tensor.shape, part.form)
            blocks = self._converted(part, on_bytes)
            sources.append(TensorSource(name, dtype, shape, blocks))
        return sources

    def _converted(self, part: _Part, on_bytes: OnBytes) -> Iterator[NDArray[Any]]:
        tensor = part.tensor
        if isinstance(tensor, BlockTensor):
            blocks = (matrix.data for matrix in tensor.matrices())
        else:
            means = self.importance.of(part.whole_name) if self.importance else None
            blocks = (
                self._convert(tensor, part.form, block, means) for block in tensor.row_blocks()
            )
        for block in blocks:
            yield block
            on_bytes(block.nbytes)

    def _convert(
        self, tensor: SourceTensor, form: str, block: Array, importance: Array | None
    ) -> NDArray[Any]:
        # NaN survives min and max, so two numbers tell of every value without a copy.
        low, high = float(block.min()), float(block.max())
        if not np.isfinite([low, high]).all():
            raise CheckpointError(
                f"tensor {tensor.name!r} of {tensor.file.path} holds a value that is not a "
                "finite number. Fetch the file again"
            )
        if form == "f32":
            return block
        try:
            if form == "f16" and max(-low, high) >= _FLOAT16_LIMIT:
                raise ShapeError(f"f16 cannot hold a weight of {max(low, high, key=abs):g}")
            if form == "f16":
                return block.astype(np.float16)
            return self.packer.pack(block, form, importance).data
        except ShapeError as error:
            raise CheckpointError(
                f"tensor {tensor.name!r} of {tensor.file.path}: {error}: use `--weights f32`"
            ) from None


def _copy(source: Path, path: Path, on_bytes: OnBytes) -> ShardFile:
    try:
        data = memoryview(source.read_bytes())
    except OSError as error:
        raise CheckpointError(f"cannot read {source}: {error.strerror}") from error
    with AtomicFile(path) as file:
        file.write(data)
        on_bytes(len(data))
    return ShardFile(path.name, file.size_bytes, file.sha256)


def _ignore(count: int) -> None:
    del count
