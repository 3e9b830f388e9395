"""What transformers computes in float32 from a GGUF's dequantised weights: the yardstick.

    python reference.py FILE.gguf IDS.npy LOGITS.npy

Run by ``benchmarks.real_model.quality`` in a Python that has ``torch``, ``transformers`` and
``gguf``. Needs nothing of this project: neither its reader of GGUF nor its arithmetic.
"""

import sys
from typing import Any

import gguf
import numpy as np
import torch
from numpy.typing import NDArray
from transformers import LlamaConfig, LlamaForCausalLM

_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_OUTER_NAMES = {"token_embd": "model.embed_tokens", "output_norm": "model.norm"}


def main() -> None:
    """Write the logits after each id. Shapes: ``(n,)`` -> ``(n, vocab_size)``."""
    file, ids, logits = sys.argv[1:]
    model = load(gguf.GGUFReader(file))
    with torch.inference_mode():
        found = model(torch.from_numpy(np.load(ids))[None]).logits[0]
    np.save(logits, found.numpy())


def load(reader: Any) -> Any:
    """A Llama without scaled positions, whose head is its embedding."""

    def value(name: str) -> Any:
        return reader.fields[f"llama.{name}"].contents()

    heads, kv_heads = value("attention.head_count"), value("attention.head_count_kv")
    config = LlamaConfig(
        vocab_size=value("vocab_size"),
        hidden_size=value("embedding_length"),
        intermediate_size=value("feed_forward_length"),
        num_hidden_layers=value("block_count"),
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        max_position_embeddings=value("context_length"),
        rms_norm_eps=value("attention.layer_norm_rms_epsilon"),
        rope_theta=value("rope.freq_base"),
        tie_word_embeddings=True,
    )
    weights = {}
    for tensor in reader.tensors:
        values = gguf.dequantize(tensor.data, tensor.tensor_type)
        if "attn_q." in tensor.name or "attn_k." in tensor.name:
            values = half_split(values, heads if "attn_q." in tensor.name else kv_heads)
        weights[_their_name(tensor.name)] = torch.from_numpy(np.array(values, np.float32))
    model = LlamaForCausalLM(config).to(torch.float32).eval()
    missing = model.load_state_dict(weights, strict=False)
    assert missing.missing_keys == ["lm_head.weight"] and not missing.unexpected_keys, missing
    assert model.lm_head.weight is model.model.embed_tokens.weight, "the head is another matrix"
    return model


def half_split(rows: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """A GGUF of this architecture has the two rows of a rotary pair side by side."""
    pairs = rows.reshape(heads, -1, 2, rows.shape[1])
    return pairs.swapaxes(1, 2).reshape(rows.shape)


def _their_name(name: str) -> str:
    stem = name.removesuffix(".weight")
    if not stem.startswith("blk."):
        return f"{_OUTER_NAMES[stem]}.weight"
    _, layer, short = stem.split(".")
    return f"model.layers.{layer}.{_NAMES[short]}.weight"


if __name__ == "__main__":
    main()
