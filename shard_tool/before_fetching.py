"""What is known of a model before its weights are there: whether it is read, and its store's size.

A checkpoint's configuration decides both, a GGUF's header. Both are small, so they come first.
"""

from pathlib import Path

from pi_cluster.kernels import NumpyPacker
from pi_cluster.shard_tool.shards import ShardWriter
from pi_cluster.shard_tool.sources import hugging_face
from pi_cluster.shard_tool.sources.checkpoint import READERS, open_checkpoint
from pi_cluster.shard_tool.sources.source_files import open_weights, read_json
from pi_cluster.shard_tool.sources.unfit_names import refuse_other_weights
from pi_cluster.transformer.config import ModelConfig
from pi_cluster.transformer.formats import WeightFormats


def read_configuration(path: Path) -> ModelConfig:
    """Read config.json or params.json as sharding will.

    Raises ``UnsupportedModel`` for a model that is not computed here, ``CheckpointError`` for a
    file that cannot be read.
    """
    return READERS[path.name](read_json(path)).config


def indexed_files(folder: Path) -> list[str]:
    """The files of weights that the index in ``folder`` names.

    Raises ``CheckpointError`` for an index that is torn, or of quantised weights or an adapter.
    """
    paths = hugging_face.weight_files(folder)
    refuse_other_weights(read_json(folder / hugging_face.INDEX_NAME)["weight_map"])
    return [path.name for path in paths]


def store_bytes_of_gguf(path: Path, formats: WeightFormats) -> int:
    """How many bytes the store of a GGUF takes, of which there need be no more than the header.

    Raises ``CheckpointError`` or ``UnsupportedModel`` as sharding will.
    """
    with open_checkpoint(path) as checkpoint:
        writer = ShardWriter(checkpoint, path.parent, formats, NumpyPacker())
        return sum(writer.planned_sizes().values())


def check_header(path: Path) -> None:
    """Refuse a file of safetensors for what its header says; the rest of it need not be there.

    Raises ``CheckpointError`` for a torn one, and for weights that are quantised or an adapter's.
    """
    with open_weights(path) as file:
        refuse_other_weights(file.names)
