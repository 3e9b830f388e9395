"""Architectures that are known and not computed: what each would need.

By the beginning of what ``architectures`` or ``model_type`` of config.json, or a GGUF, has, without
regard to case, hyphens and underscores. The longest beginning that fits is taken.
"""

import re

_EXPERTS = "experts, of which each token passes a few"
_GEMMA = (
    "norms with gains of 1 + w, four in a layer, gelu_tanh for silu, and embeddings times sqrt(dim)"
)
_IMAGES = "the part for images, and a text model that is read out of its wrapper"
_LATENT = "latent attention, whose keys and values are compressed together"
_RECURRENT = "layers with a recurrent state in the place of attention"
_LAYER_NORM = "LayerNorm and its biases in the place of RMSNorm"
_NEEDS = {
    "mixtral": _EXPERTS,
    "qwen2moe": _EXPERTS,
    "qwen3moe": _EXPERTS,
    "qwen3next": f"{_RECURRENT} (gated DeltaNet), and {_EXPERTS}",
    "qwen35": f"{_RECURRENT} (gated DeltaNet)",
    "qwen2vl": _IMAGES,
    "qwen25vl": _IMAGES,
    "qwen3vl": _IMAGES,
    "qwen": "the fused projections of the first Qwen, and its own code",
    "gptoss": f"{_EXPERTS}, attention sinks, and MXFP4 weights",
    "llama4": f"{_EXPERTS}, attention in chunks, and a scale of the queries by position",
    "mllama": _IMAGES,
    "llava": _IMAGES,
    "mistral3": f"{_IMAGES}, and in Ministral 3 yarn scaling of the rotary angles",
    "ministral3": "yarn scaling of the rotary angles and a scale of the queries by position",
    "pixtral": _IMAGES,
    "voxtral": "the part for sound",
    "gemma": _GEMMA,
    "gemma2": f"{_GEMMA}, and capped scores and logits",
    "gemma3": f"{_GEMMA}, norms of queries and keys, and two rotary tables",
    "gemma4": f"{_GEMMA}, and embeddings for each layer",
    "phi3": "fused projections of queries, keys and values, and longrope",
    "phi4": "fused projections of queries, keys and values, and longrope",
    "phimoe": _EXPERTS,
    "phi": f"attention and feed-forward side by side, and {_LAYER_NORM}",
    "deepseek": f"{_EXPERTS}, and {_LATENT}",
    "kimi": f"{_EXPERTS}, and {_LATENT}",
    "glm4moe": _EXPERTS,
    "glm": "two more norms in a layer, and heads of which half is rotated",
    "chatglm": "fused projections, and heads of which half is rotated",
    "granitemoe": _EXPERTS,
    "granite": "multipliers of embeddings, residuals, scores and logits",
    "olmo": "norms that stand behind attention and feed-forward, or have no gain",
    "cohere": f"{_LAYER_NORM}, side by side with the feed-forward, and scaled logits",
    "falcon": f"attention and feed-forward side by side, and {_LAYER_NORM}",
    "bitnet": "ternary weights, relu^2 for silu, and norms within attention and feed-forward",
    "starcoder2": _LAYER_NORM,
    "stablelm": f"{_LAYER_NORM}, and heads of which a part is rotated",
    "gptneox": f"attention and feed-forward side by side, and {_LAYER_NORM}",
    "gptbigcode": f"{_LAYER_NORM}, and learned positions",
    "gpt2": f"{_LAYER_NORM}, and learned positions",
    "opt": f"{_LAYER_NORM}, and learned positions",
    "bloom": f"{_LAYER_NORM}, and ALiBi for rotary positions",
    "mpt": f"{_LAYER_NORM}, and ALiBi for rotary positions",
    "internlm2": "a fused projection of queries, keys and values",
    "baichuan": "a fused projection of queries, keys and values",
    "minicpm": "multipliers of embeddings, residuals and logits",
    "exaone4": "norms that stand behind attention and feed-forward",
    "exaone": "other names for its tensors",
    "nemotron": f"{_LAYER_NORM}, and relu^2 for silu",
    "mamba": _RECURRENT,
    "falconmamba": _RECURRENT,
    "falconh1": _RECURRENT,
    "jamba": f"{_RECURRENT}, and {_EXPERTS}",
    "lfm2": "layers with short convolutions in the place of attention",
    "rwkv": _RECURRENT,
    "t5": "an encoder beside the decoder",
    "bert": "no decoder: it does not write text",
    "whisper": "the part for sound",
}


def what_it_needs(architecture: str) -> str | None:
    """What is not computed here of an architecture; None where nothing is known of it."""
    name = re.sub(r"[^a-z0-9]", "", architecture.lower())
    known = [beginning for beginning in _NEEDS if name.startswith(beginning)]
    return _NEEDS[max(known, key=len)] if known else None
