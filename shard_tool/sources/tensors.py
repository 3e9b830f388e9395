"""The tensors of a checkpoint, found under its own names and compared with its configuration."""

import re
from collections.abc import Collection, Mapping

import numpy as np

from pi_cluster.cluster.errors import CheckpointError
from pi_cluster.shard_tool.sources.names import (
    IGNORED_SUFFIXES,
    layer_of,
    short_name,
    tensor_shapes,
)
from pi_cluster.shard_tool.sources.reader import WeightFile
from pi_cluster.shard_tool.sources.source_tensor import HalfSplit, SourceTensor
from pi_cluster.shard_tool.sources.unfit_names import refuse_other_weights, tie_key, why_lacking
from pi_cluster.transformer.config import ModelConfig
from pi_cluster.transformer.families.family import ReadConfig
from pi_cluster.transformer.families.tensor_forms import ROTATED, RowOrder, TensorForm

SAFETENSORS_DTYPES = ("BF16", "F16", "F32")
_LAYER_NAME = re.compile(r"(?:model\.)?(?:layers|blk)\.\d+\.")
_EMBEDDING, _HEAD = "tok_embeddings.weight", "output.weight"


def find_tensors(
    where: Mapping[str, WeightFile],
    read: ReadConfig,
    form: TensorForm,
    config_name: str,
    dtypes: Collection[str] = SAFETENSORS_DTYPES,
) -> tuple[dict[str, SourceTensor], list[str]]:
    """Find and check every tensor of the model; keys are Mistral's names. Return notes as well.

    ``where`` has the file of each tensor by the name that it has there, and ``form`` says which
    that is; ``dtypes`` are those that can be read. Raises ``CheckpointError`` for the first tensor
    that is missing, unfit or not computed here.
    """
    refuse_other_weights(where)
    found = {}
    for name, shape in tensor_shapes(read.config).items():
        source = form.name_of(_kept_of_tied(name, where, form) if read.tied else name)
        if source not in where:
            raise CheckpointError(why_lacking(where, source, shape, config_name))
        is_split = form.rows is RowOrder.HALF_SPLIT and short_name(name) in ROTATED
        order = _half_split(read.config, name) if is_split else None
        found[name] = _checked(SourceTensor(where[source], source, shape, order), dtypes)
    head = form.name_of(_HEAD)
    known = {tensor.name for tensor in found.values()} | {head}
    left_out = _refuse_unknown(where, known)
    notes = []
    is_other = head in where and found[_HEAD].name != head
    if is_other and _differs(found[_HEAD], where[head], head, dtypes):
        notes.append(_two_heads(found[_HEAD].name, head, config_name))
    if left_out:
        more = f" and {len(left_out) - 1} more" if len(left_out) > 1 else ""
        notes.append(f"left out, being no part of this model: {left_out[0]!r}{more}")
    return found, notes


def _half_split(config: ModelConfig, name: str) -> HalfSplit:
    """The heads of a rotated tensor. Where a layer turns none, any order is right for it."""
    number = layer_of(name)
    assert number is not None, name
    layer = config.layers[number]
    if layer.rope_table is None:
        return HalfSplit(layer.head_dim, layer.head_dim)
    return HalfSplit(layer.head_dim, config.rope_tables[layer.rope_table].rotary_dim)


def _kept_of_tied(name: str, where: Mapping[str, WeightFile], form: TensorForm) -> str:
    """Of a tied pair one matrix is enough, and most files keep the embedding, some the head."""
    if name not in (_EMBEDDING, _HEAD):
        return name
    has_head_alone = form.name_of(_EMBEDDING) not in where and form.name_of(_HEAD) in where
    return _HEAD if has_head_alone else _EMBEDDING


def _checked(tensor: SourceTensor, dtypes: Collection[str]) -> SourceTensor:
    info = tensor.file.info(tensor.name)
    if info.shape != tensor.shape:
        raise CheckpointError(
            f"tensor {tensor.name!r} of {tensor.file.path} has shape {info.shape}; "
            f"by the configuration it must be {tensor.shape}"
        )
    if info.dtype not in dtypes:
        raise CheckpointError(
            f"tensor {tensor.name!r} of {tensor.file.path} has dtype {info.dtype}; "
            f"only {', '.join(dtypes)} are read: fetch the checkpoint in one of these"
        )
    return tensor


def _refuse_unknown(where: Mapping[str, WeightFile], known: set[str]) -> list[str]:
    """Refuse tensors that would change the result if they were left out; return the others.

    Those are biases that the model does not have by its configuration, and whatever else a layer
    holds. Tables that follow from the configuration are not worth a word, tensors outside the
    layers are none of this model's business.
    """
    left_out = []
    for name in where:
        if name in known or name.endswith(IGNORED_SUFFIXES):
            continue
        if name.endswith((".bias", "_bias")):
            raise CheckpointError(
                f"tensor {name!r} is a bias, but no model of this configuration has one there: "
                f"{where[name].path} is of a model that is not computed here"
            )
        if _LAYER_NAME.match(name):
            raise CheckpointError(
                f"tensor {name!r} belongs to a layer, but no model of this configuration has it: "
                f"{where[name].path} is of a model that is not computed here"
            )
        left_out.append(name)
    return left_out


def _differs(embedding: SourceTensor, file: WeightFile, head: str, dtypes: Collection[str]) -> bool:
    """Whether a head beside a tied embedding is another matrix; reads a few row blocks at once."""
    info = file.info(head)
    if info.shape != embedding.shape or info.dtype not in dtypes:
        return True
    pairs = zip(
        embedding.row_blocks(), SourceTensor(file, head, info.shape).row_blocks(), strict=True
    )
    return any(not np.array_equal(one, other) for one, other in pairs)


def _two_heads(embedding: str, head: str, config_name: str) -> str:
    """Two heads, one used: the configuration is the word of whoever made the model.

    transformers 4 and vLLM tie as it says, so that is how such a model has been used and judged.
    transformers 5 takes the matrix instead, and warns.
    """
    key = tie_key(config_name)
    return (
        f"{embedding!r} is used as the head, because {config_name} has {key}, as transformers 4 "
        f"and vLLM do; but there is another {head!r}, which transformers 5 uses. Set {key} to "
        "false to use that"
    )
