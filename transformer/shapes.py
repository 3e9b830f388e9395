"""The tensors of a model: Mistral's names within each shard file, and their shapes."""

from pi_cluster.transformer.config import LayerConfig, ModelConfig

Shapes = dict[str, tuple[int, ...]]


def embedding_shapes(config: ModelConfig) -> Shapes:
    """Tensors that the first stage adds to its layers."""
    return {"tok_embeddings.weight": (config.vocab_size, config.dim)}


def layer_shapes(layer: LayerConfig, dim: int) -> Shapes:
    """Tensors of one layer, in the order they are used; vectors are gains and biases."""
    shapes: Shapes = {
        "attention_norm.weight": (dim,),
        "attention.wq.weight": (layer.query_dim, dim),
        "attention.wk.weight": (layer.key_dim, dim),
        "attention.wv.weight": (layer.key_dim, dim),
    }
    if layer.qkv_bias:
        shapes["attention.wq.bias"] = (layer.query_dim,)
        shapes["attention.wk.bias"] = shapes["attention.wv.bias"] = (layer.key_dim,)
    if layer.qk_norm:
        shapes["attention.q_norm.weight"] = (layer.head_dim,)
        shapes["attention.k_norm.weight"] = (layer.head_dim,)
    shapes["attention.wo.weight"] = (dim, layer.query_dim)
    if layer.o_bias:
        shapes["attention.wo.bias"] = (dim,)
    return shapes | {
        "ffn_norm.weight": (dim,),
        "feed_forward.w1.weight": (layer.hidden_dim, dim),
        "feed_forward.w2.weight": (dim, layer.hidden_dim),
        "feed_forward.w3.weight": (layer.hidden_dim, dim),
    }


def head_shapes(config: ModelConfig) -> Shapes:
    """Tensors that the last stage adds to its layers."""
    return {"norm.weight": (config.dim,), "output.weight": (config.vocab_size, config.dim)}
