"""From shard files on disk to a stage that runs: checked, mapped, not copied."""

from collections.abc import Iterable
from dataclasses import dataclass

from cluster.errors import StoreError
from cluster.manifest import Manifest, ShardFile, stored_dtype
from cluster.plan import LayerRange
from cluster.tensor_file import TensorFile
from transformer.arithmetic import Weight
from transformer.config import ModelConfig
from transformer.shapes import Shapes, embedding_shapes, head_shapes, layer_shapes
from transformer.stage import Limits, Stage, StageWeights
from worker.vault import ShardVault


@dataclass(frozen=True, slots=True)
class LoadedStage:
    """A stage whose weights are views into mapped files."""

    stage: Stage
    weight_bytes: int


def load_stage(
    manifest: Manifest, layers: LayerRange, limits: Limits, vault: ShardVault
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

    def mapped(file: ShardFile, shapes: Shapes) -> dict[str, Weight]:
        with TensorFile(vault.path_of(file)) as tensors:
            return dict(_checked(file.name, tensors, shapes, manifest.weights))

    weights = StageWeights(
        layers=[mapped(manifest.layer_file(i), layer_shapes(config)) for i in layers],
        embedding=(
            mapped(manifest.embedding_file, embedding_shapes(config)) if layers.start == 0 else None
        ),
        head=(
            mapped(manifest.head_file, head_shapes(config))
            if layers.stop == config.n_layers
            else None
        ),
    )
    size = sum(file.size_bytes for file in manifest.stage_files(layers.start, layers.stop))
    return LoadedStage(Stage(config, range(layers.start, layers.stop), weights, limits), size)


def _checked(
    file_name: str, tensors: TensorFile, shapes: Shapes, weights: str
) -> Iterable[tuple[str, Weight]]:
    for name, shape in shapes.items():
        info = tensors.info(name)
        dtype = stored_dtype(shape, weights)
        if (info.dtype, info.shape) != (dtype, shape):
            raise StoreError(
                f"{name} in {file_name} is {info.dtype} {info.shape}, expected {dtype} {shape}: "
                "verify the store with `pi-cluster verify STORE` and run `pi-cluster up` again"
            )
        yield name, tensors.map(name)
