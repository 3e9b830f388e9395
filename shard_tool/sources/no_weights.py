"""What to say of a folder in which no weights were found: what is there instead, what to do."""

from pathlib import Path

from pi_cluster.shard_tool.sources.source_files import read_json
from pi_cluster.transformer.config_faults import as_json

ADAPTER_CONFIG_NAME = "adapter_config.json"
_ADAPTERS = ("adapter_model.safetensors", "adapter_model.bin", "adapter_model.pt")
_OF_QUANTISED = ("quantize_config.json", "quant_config.json")  # GPTQ; AWQ
_PICKLES = ("*.bin", "*.pth", "*.pt")
# What a training run leaves beside the weights; none of them is one.
_OF_TRAINING = ("optimizer", "scheduler", "rng_state", "training_args", "scaler", "random_states")


def why_no_weights(folder: Path, indexed: list[Path]) -> str:
    """The sentence for ``folder``; ``indexed`` are the files that an index names, none there."""
    if sentence := _adapter(folder):
        return sentence
    if pickled := _pickles(folder):
        return (
            f"{folder} has its weights in {pickled[0].name}, a pickle, which is never read here: "
            "fetch the checkpoint as safetensors, or load it with transformers and save it with "
            "save_pretrained"
        )
    if any(folder.glob("*.gguf")):
        return f"{folder} is in GGUF form; fetch the checkpoint as safetensors"
    if indexed:
        return (
            f"{folder} has an index but none of the files that it names: fetch {indexed[0].name}"
            f"{f' and {len(indexed) - 1} more' if len(indexed) > 1 else ''}"
        )
    parts = sorted(folder.glob("model-*.safetensors"))
    if parts:
        return (
            f"{folder} has {parts[0].name} but no model.safetensors.index.json, which says what "
            "is where: fetch it"
        )
    others = sorted(folder.glob("*.safetensors"))
    quantised = next((name for name in _OF_QUANTISED if (folder / name).is_file()), None)
    if others and quantised:
        return (
            f"{folder} has quantised weights in {others[0].name} (it has {quantised}): use the "
            "checkpoint that they were made from, in bfloat16, float16 or float32"
        )
    if others:
        return (
            f"{folder} has {others[0].name}, and weights of this name are not read: if it holds "
            "the whole model, rename it to model.safetensors"
        )
    return (
        f"{folder} is no checkpoint: neither config.json with model.safetensors (or its index) "
        "nor params.json with consolidated.safetensors is there"
    )


def _adapter(folder: Path) -> str | None:
    has_config = (folder / ADAPTER_CONFIG_NAME).is_file()
    if not has_config and not any((folder / name).exists() for name in _ADAPTERS):
        return None
    base = read_json(folder / ADAPTER_CONFIG_NAME) if has_config else {}
    name = base.get("base_model_name_or_path")
    of = f" {as_json(name)}" if isinstance(name, str) and name else ""
    return (
        f"{folder} holds an adapter (LoRA), not a model: merge it into its base model{of} first "
        "(peft: merge_and_unload, then save_pretrained), and shard the result"
    )


def _pickles(folder: Path) -> list[Path]:
    found = [path for pattern in _PICKLES for path in sorted(folder.glob(pattern))]
    return [path for path in found if not path.name.startswith(_OF_TRAINING)]
