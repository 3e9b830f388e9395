"""The tensors of a model: Mistral's names within each shard file, and their shapes."""

from pi_cluster.transformer.config import ModelConfig

Shapes = dict[str, tuple[int, ...]]


def embedding_shapes(config: ModelConfig) -> Shapes:
    """Tensors that the first stage adds to its layers."""
    return {"tok_embeddings.weight": (config.vocab_size, config.dim)}


def layer_shapes(config: ModelConfig) -> Shapes:
    """Tensors of one layer, in the order they are used."""
    query_rows = config.n_heads * config.head_dim
    key_rows = config.n_kv_heads * config.head_dim
    return {
        "attention_norm.weight": (config.dim,),
        "attention.wq.weight": (query_rows, config.dim),
        "attention.wk.weight": (key_rows, config.dim),
        "attention.wv.weight": (key_rows, config.dim),
        "attention.wo.weight": (config.dim, query_rows),
        "ffn_norm.weight": (config.dim,),
        "feed_forward.w1.weight": (config.hidden_dim, config.dim),
        "feed_forward.w2.weight": (config.dim, config.hidden_dim),
        "feed_forward.w3.weight": (config.hidden_dim, config.dim),
    }


def head_shapes(config: ModelConfig) -> Shapes:
    """Tensors that the last stage adds to its layers."""
    return {"norm.weight": (config.dim,), "output.weight": (config.vocab_size, config.dim)}
