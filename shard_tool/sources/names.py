"""What each tensor of a whole checkpoint is called, here and at Hugging Face."""

from pi_cluster.transformer.config import ModelConfig
from pi_cluster.transformer.shapes import Shapes, embedding_shapes, head_shapes, layer_shapes

ROTATED = ("attention.wq.weight", "attention.wk.weight")
"""The layer tensors whose rows the two families order differently."""

IGNORED_SUFFIXES = ("rotary_emb.inv_freq", "rope.freqs")
"""Tables that older checkpoints carry and that follow from the configuration."""

_HUGGING_FACE = {
    "tok_embeddings.weight": "model.embed_tokens.weight",
    "norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
    "attention_norm.weight": "input_layernorm.weight",
    "attention.wq.weight": "self_attn.q_proj.weight",
    "attention.wk.weight": "self_attn.k_proj.weight",
    "attention.wv.weight": "self_attn.v_proj.weight",
    "attention.wo.weight": "self_attn.o_proj.weight",
    "ffn_norm.weight": "post_attention_layernorm.weight",
    "feed_forward.w1.weight": "mlp.gate_proj.weight",
    "feed_forward.w2.weight": "mlp.down_proj.weight",
    "feed_forward.w3.weight": "mlp.up_proj.weight",
}


def tensor_shapes(config: ModelConfig) -> Shapes:
    """The tensors' shapes by Mistral's names, ``layers.0.attention.wq.weight`` and so on.

    Matrices are ``(out features, in features)``, as both families keep them.
    """
    shapes = embedding_shapes(config)
    for index, layer in enumerate(config.layers):
        of_layer = layer_shapes(layer, config.dim)
        shapes |= {layer_tensor(index, short): shape for short, shape in of_layer.items()}
    return shapes | head_shapes(config)


def layer_tensor(layer: int, short: str) -> str:
    """Mistral's whole name of a layer's tensor."""
    return f"layers.{layer}.{short}"


def short_name(name: str) -> str:
    """The name within its shard: ``layers.7.ffn_norm.weight`` -> ``ffn_norm.weight``."""
    return name.split(".", 2)[2] if name.startswith("layers.") else name


def hugging_face_name(name: str) -> str:
    """Hugging Face's name for one of Mistral's."""
    short = short_name(name)
    theirs = _HUGGING_FACE[short]
    return theirs if short == name else f"model.layers.{name.split('.')[1]}.{theirs}"
