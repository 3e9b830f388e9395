"""From shard files on disk to a stage that runs: checked, mapped, not copied."""

from dataclasses import dataclass

import numpy as np

from pi_cluster.cluster.errors import StoreError
from pi_cluster.cluster.layer_range import LayerRange
from pi_cluster.cluster.store.manifest import Manifest, ShardFile
from pi_cluster.cluster.store.tensor_file import ALIGNMENT, TensorFile
from pi_cluster.kernels import Engine, Matrix
from pi_cluster.transformer.arithmetic import Array
from pi_cluster.transformer.config import ModelConfig
from pi_cluster.transformer.formats import stored_as, tensor_format
from pi_cluster.transformer.kernel_arithmetic import KernelArithmetic, StageTensors, Tensors
from pi_cluster.transformer.limits import Limits
from pi_cluster.transformer.shapes import Shapes, embedding_shapes, head_shapes, layer_shapes
from pi_cluster.transformer.stage import Stage
from pi_cluster.worker.shards.vault import ShardVault


@dataclass(frozen=True, slots=True)
class LoadedStage:
    """A stage whose weights are views into mapped files."""

    stage: Stage
    weight_bytes: int


def load_stage(
    manifest: Manifest, layers: LayerRange, limits: Limits, vault: ShardVault, engine: Engine
) -> LoadedStage:
    """Map a stage's shards.

    Raises ``StoreError`` naming the file when one is missing, torn, or does not hold the tensors
    that the manifest's configuration asks for.
    """
    config = ModelConfig.from_dict(manifest.config)
    if config.n_layers != manifest.n_layers or layers.stop > config.n_layers:
        raise StoreError(
            f"layers {layers} of a model of {config.n_layers} layers, in a store with "
            f"{manifest.n_layers} layer files"
        )

    def mapped(file: ShardFile, shapes: Shapes, weights: str) -> Tensors:
        with TensorFile(vault.path_of(file)) as tensors:
            return {
                name: _tensor(file.name, tensors, name, shape, weights)
                for name, shape in shapes.items()
            }

    outer = manifest.outer_weights
    is_first, is_last = layers.start == 0, layers.stop == config.n_layers
    shapes = layer_shapes(config)
    tensors = StageTensors(
        layers=[mapped(manifest.layer_file(i), shapes, manifest.weights) for i in layers],
        embedding=(
            mapped(manifest.embedding_file, embedding_shapes(config), outer) if is_first else None
        ),
        head=mapped(manifest.head_file, head_shapes(config), outer) if is_last else None,
    )
    arithmetic = KernelArithmetic(config, tensors, limits, engine)
    size = sum(file.size_bytes for file in manifest.stage_files(layers.start, layers.stop))
    return LoadedStage(Stage(config, range(layers.start, layers.stop), arithmetic, limits), size)


def _tensor(
    file_name: str, tensors: TensorFile, name: str, shape: tuple[int, ...], weights: str
) -> Matrix | Array:
    """A matrix over the mapped bytes, or a gain; the sizes are checked before C sees them."""
    form = tensor_format(shape, weights)
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


def _unfit(file_name: str, problem: str) -> StoreError:
    return StoreError(
        f"{file_name} does not fit its manifest, {problem}: make the store anew with "
        "`pi-cluster shard CHECKPOINT --out STORE`, and bring that up"
    )
