"""What the names of a checkpoint's tensors tell when they are not those of this model."""

import re
from collections.abc import Collection, Mapping

from pi_cluster.cluster.errors import CheckpointError
from pi_cluster.shard_tool.sources.reader import WeightFile
from pi_cluster.transformer.families import params_json

# GPTQ and AWQ; compressed-tensors, FP8 and Mistral's own; bitsandbytes; MLX (scales, biases).
_OF_QUANTISED = re.compile(
    r"\.(qweight|qzeros|scales|g_idx|weight_packed|weight_scale|weight_scale_inv|weight_zero_point"
    r"|weight_g_idx|qscale_weight|qscale_act|absmax|quant_map|SCB|weight_format|quant_state\..*"
    r"|weight\.(absmax|quant_map|nested_absmax|nested_quant_map|quant_state\..*))$"
)
_OF_ADAPTER = re.compile(r"\.lora_[ABab]\b|\.lora_(embedding|magnitude)|\.base_layer\.")
# Prefixes of what wraps a model, and the way back to the names that it has alone.
_WRAPPERS = {
    "base_model.model.": "it was saved with its adapter around it: merge it (peft: "
    "merge_and_unload), and save the result with save_pretrained",
    "module.": "it was saved from within a wrapper for training in parallel: save model.module "
    "with save_pretrained",
    "_orig_mod.": "it was saved compiled: save model._orig_mod with save_pretrained",
    "_forward_module.": "it was saved from within a wrapper for training: save the model alone "
    "with save_pretrained",
    "language_model.": "it is the text's part of a model of images or sound, which is not "
    "supported: choose a model of text alone",
    "model.language_model.": "it is the text's part of a model of images or sound, which is not "
    "supported: choose a model of text alone",
}
_OTHER_WRAPPER = "save the model alone, from the program that it is of, with save_pretrained"
_HEADS = ("lm_head.weight", "output.weight")


def refuse_other_weights(names: Collection[str]) -> None:
    """Raise ``CheckpointError`` if the names are those of quantised weights or of an adapter."""
    for name in names:
        if _OF_QUANTISED.search(name):
            raise CheckpointError(
                f"the weights are quantised (there is a tensor {name!r}): use the checkpoint that "
                "this one was made from, in bfloat16, float16 or float32"
            )
        if _OF_ADAPTER.search(name):
            raise CheckpointError(
                f"the weights have an adapter (LoRA) beside them (there is a tensor {name!r}): "
                "merge it first (peft: merge_and_unload), and save the result with save_pretrained"
            )


def why_lacking(
    where: Mapping[str, WeightFile], name: str, shape: tuple[int, ...], config_name: str
) -> str:
    """The sentence for a tensor that the checkpoint lacks: what that means, and what to do."""
    lack = f"the checkpoint lacks the tensor {name!r} of shape {shape}"
    if name in _HEADS:
        key = tie_key(config_name)
        return (
            f"{lack}, the head, and {config_name} does not say that the head is the embedding: "
            f"set {key} to true there if the model's page says so; otherwise this is a model "
            "without a head, and cannot write text"
        )
    if prefix := _prefix(where, name):
        why = _WRAPPERS.get(prefix, _OTHER_WRAPPER)
        return f"the names of the checkpoint's tensors begin with {prefix!r}; {why}"
    bare = name.removeprefix("model.")
    if bare != name and bare in where:
        return (
            f"{lack}, but has {bare!r}: it holds the layers of a model without its head, which "
            "cannot write text. Choose the checkpoint of the whole model"
        )
    files = sorted({file.path.name for file in where.values()})
    if files and files[0].startswith("consolidated.") and files != ["consolidated.safetensors"]:
        return f"{lack}: fetch all files consolidated.*.safetensors, of which {len(files)} are here"
    return (
        f"{lack}, which a model of this {config_name} has. Compare it with the model's page: it "
        "and the weights may be of two models"
    )


def tie_key(config_name: str) -> str:
    """The key by which a configuration says that the head is the embedding."""
    return "tied_embeddings" if config_name == params_json.FILE_NAME else "tie_word_embeddings"


def _prefix(names: Collection[str], wanted: str) -> str | None:
    """What stands before ``wanted``, or before its end, in the names that are there."""
    bare = wanted.removeprefix("model.")
    for ending in (wanted, bare):
        for name in names:
            if name != ending and name.endswith("." + ending):
                return name.removesuffix(ending)
    return None
