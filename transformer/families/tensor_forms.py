"""What the tensors of a checkpoint are called, and in which order it has the rotary rows.

Here tensors have Mistral's names. A form has its own one for each, and one for the layer's prefix.
Half-split rows become interleaved when they are read (``transformer/rope.py``): those of ``wq`` and
``wk``, their biases, and the gains of their norms, which are all of one head's order.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

ROTATED = frozenset(
    {
        *("attention.wq.weight", "attention.wk.weight", "attention.wq.bias", "attention.wk.bias"),
        *("attention.q_norm.weight", "attention.k_norm.weight"),
    }
)
"""The tensors of a layer whose rows are in rotary order."""


class RowOrder(Enum):
    """Which two entries of a head are a pair that is turned together."""

    INTERLEAVED = "2i and 2i + 1"  # Mistral's own; NORM in llama.cpp
    HALF_SPLIT = "i and i + rotary_dim / 2"  # Hugging Face's; NEOX in llama.cpp


@dataclass(frozen=True, slots=True)
class TensorForm:
    """A way to name and order the tensors of a checkpoint.

    ``names`` has what each is called, by Mistral's name within its shard file; those of a layer
    follow ``layer_prefix``, in which ``{}`` is its number. A name that is not there is the same.
    """

    names: Mapping[str, str]
    layer_prefix: str
    rows: RowOrder

    def name_of(self, name: str) -> str:
        """What ``layers.7.attention.wq.weight``, or a tensor outside the layers, is called."""
        if not name.startswith("layers."):
            return self.names.get(name, name)
        _, layer, short = name.split(".", 2)
        return self.layer_prefix.format(layer) + self.names.get(short, short)


CONSOLIDATED = TensorForm({}, "layers.{}.", RowOrder.INTERLEAVED)
"""Mistral's own files."""

HUGGING_FACE = TensorForm(
    {
        "tok_embeddings.weight": "model.embed_tokens.weight",
        "norm.weight": "model.norm.weight",
        "output.weight": "lm_head.weight",
        "attention_norm.weight": "input_layernorm.weight",
        "attention.wq.weight": "self_attn.q_proj.weight",
        "attention.wq.bias": "self_attn.q_proj.bias",
        "attention.wk.weight": "self_attn.k_proj.weight",
        "attention.wk.bias": "self_attn.k_proj.bias",
        "attention.wv.weight": "self_attn.v_proj.weight",
        "attention.wv.bias": "self_attn.v_proj.bias",
        "attention.q_norm.weight": "self_attn.q_norm.weight",
        "attention.k_norm.weight": "self_attn.k_norm.weight",
        "attention.wo.weight": "self_attn.o_proj.weight",
        "attention.wo.bias": "self_attn.o_proj.bias",
        "ffn_norm.weight": "post_attention_layernorm.weight",
        "feed_forward.w1.weight": "mlp.gate_proj.weight",
        "feed_forward.w2.weight": "mlp.down_proj.weight",
        "feed_forward.w3.weight": "mlp.up_proj.weight",
    },
    "model.layers.{}.",
    RowOrder.HALF_SPLIT,
)
"""What transformers calls the tensors of the families that are read here."""

_GGUF_NAMES = {
    "tok_embeddings.weight": "token_embd.weight",
    "norm.weight": "output_norm.weight",
    "output.weight": "output.weight",
    "attention_norm.weight": "attn_norm.weight",
    "attention.wq.weight": "attn_q.weight",
    "attention.wq.bias": "attn_q.bias",
    "attention.wk.weight": "attn_k.weight",
    "attention.wk.bias": "attn_k.bias",
    "attention.wv.weight": "attn_v.weight",
    "attention.wv.bias": "attn_v.bias",
    "attention.q_norm.weight": "attn_q_norm.weight",
    "attention.k_norm.weight": "attn_k_norm.weight",
    "attention.wo.weight": "attn_output.weight",
    "attention.wo.bias": "attn_output.bias",
    "ffn_norm.weight": "ffn_norm.weight",
    "feed_forward.w1.weight": "ffn_gate.weight",
    "feed_forward.w2.weight": "ffn_down.weight",
    "feed_forward.w3.weight": "ffn_up.weight",
}
GGUF_NORM = TensorForm(_GGUF_NAMES, "blk.{}.", RowOrder.INTERLEAVED)
"""GGUF, where its converter has interleaved the rotary rows."""
GGUF_NEOX = TensorForm(_GGUF_NAMES, "blk.{}.", RowOrder.HALF_SPLIT)
"""GGUF, where its converter has left them as Hugging Face has them."""
