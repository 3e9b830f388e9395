"""From shard files on disk to a stage that runs: checked, mapped, not copied."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from pi_cluster.cluster.errors import StoreError
from pi_cluster.cluster.layer_range import LayerRange
from pi_cluster.cluster.store.manifest import Manifest, ShardFile
from pi_cluster.cluster.store.tensor_file import ALIGNMENT, TensorFile
from pi_cluster.cluster.store.tensor_formats import StoreFormats, TensorFormats
from pi_cluster.kernels import Engine, Matrix
from pi_cluster.transformer.arithmetic import Array
from pi_cluster.transformer.config import ModelConfig
from pi_cluster.transformer.config_form import read_config
from pi_cluster.transformer.formats import (
    WeightFormats,
    embedding_formats,
    head_formats,
    layer_formats,
    stored_as,
)
from pi_cluster.transformer.kernel_arithmetic import KernelArithmetic, StageTensors, Tensors
from pi_cluster.transformer.limits import Limits
from pi_cluster.transformer.shapes import Shapes, embedding_shapes, head_shapes, layer_shapes
from pi_cluster.transformer.stage import Stage


class ShardFiles(Protocol):
    """Where shard files lie: a node's vault, or a store."""

    def path_of(self, file: ShardFile) -> Path:
        """One of them. Raises ``StoreError`` where it is not there."""
        ...


@dataclass(frozen=True, slots=True)
class LoadedStage:
    """A stage whose weights are views into mapped files."""

    stage: Stage
    weight_bytes: int


def load_stage(
    manifest: Manifest, layers: LayerRange, limits: Limits, files: ShardFiles, engine: Engine
) -> LoadedStage:
    """Map a stage's shards.

    Raises ``StoreError`` naming the file when one is missing, torn, or does not hold the tensors
    that the manifest's configuration asks for.
    """
    config = read_config(manifest.config)
    if config.n_layers != manifest.n_layers or layers.stop > config.n_layers:
        raise StoreError(
            f"layers {layers} of a model of {config.n_layers} layers, in a store with "
            f"{manifest.n_layers} layer files"
        )

    def mapped(file: ShardFile, shapes: Shapes, forms: TensorFormats) -> Tensors:
        if forms.keys() != shapes.keys():
            odd = sorted(forms.keys() ^ shapes.keys())[0]
            raise _unfit(file.name, f"one of its formats and its configuration has {odd} alone")
        with TensorFile(files.path_of(file)) as tensors:
            return {
                name: _tensor(file.name, tensors, name, shape, forms[name])
                for name, shape in shapes.items()
            }

    def layer(index: int) -> Tensors:
        shapes = layer_shapes(config.layers[index], config.dim)
        return mapped(manifest.layer_file(index), shapes, formats.layers[index])

    def embedding() -> Tensors:
        return mapped(manifest.embedding_file, embedding_shapes(config), formats.embedding)

    def head() -> Tensors:
        return mapped(manifest.head_file, head_shapes(config), formats.head)

    formats = manifest.formats or _formats_before_they_were_listed(manifest, config)
    is_first, is_last = layers.start == 0, layers.stop == config.n_layers
    tensors = StageTensors(
        layers=[layer(index) for index in layers],
        embedding=embedding() if is_first else None,
        head=head() if is_last else None,
    )
    stage_layers = range(layers.start, layers.stop)
    arithmetic = KernelArithmetic(config, stage_layers, tensors, limits, engine)
    size = sum(file.size_bytes for file in manifest.stage_files(layers.start, layers.stop))
    return LoadedStage(Stage(config, stage_layers, arithmetic, limits), size)


def _tensor(
    file_name: str, tensors: TensorFile, name: str, shape: tuple[int, ...], form: str
) -> Matrix | Array:
    """A matrix over the mapped bytes, or a gain; the sizes are checked before C sees them."""
    if len(shape) == 1 and form != "f32":
        raise _unfit(file_name, f"{name} is a vector in the format {form}")
    dtype, stored_shape = stored_as(shape, form)
    if name not in tensors.names:
        raise _unfit(file_name, f"{name} is missing")
    info = tensors.info(name)
    if (info.dtype, info.shape) != (dtype, stored_shape):
        found = f"{info.dtype} {info.shape}"
        raise _unfit(file_name, f"{name} is {found}, expected {dtype} {stored_shape}")
    if info.offset % ALIGNMENT:
        raise _unfit(file_name, f"{name} begins at {info.offset}, no multiple of {ALIGNMENT}")
    array = tensors.map(name)
    if len(shape) == 1:
        return array
    rows, columns = shape
    return Matrix(form, rows, columns, array.reshape(-1).view(np.uint8))


def _formats_before_they_were_listed(manifest: Manifest, config: ModelConfig) -> StoreFormats:
    wanted = WeightFormats(manifest.weights, manifest.outer_weights)
    return StoreFormats(
        embedding=embedding_formats(config, wanted),
        layers=tuple(layer_formats(config, index, wanted) for index in range(config.n_layers)),
        head=head_formats(config, wanted),
    )


def _unfit(file_name: str, problem: str) -> StoreError:
    return StoreError(
        f"{file_name} does not fit its manifest, {problem}: make the store anew with "
        "`pi-cluster shard CHECKPOINT --out STORE`, and bring that up"
    )
