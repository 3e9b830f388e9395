"""What the configurations of published checkpoints say, as public files quote them.

Facts, key by key, and where each was read. A configuration is the base of its family and what it
has beside or instead; ``...`` takes a key away.
"""

from typing import Any

from pi_cluster.transformer.config import ModelConfig

Values = dict[str, Any]


def _changed(base: Values, **changes: Any) -> Values:
    return {k: v for k, v in (base | changes).items() if v is not ...}


MISTRAL_V1: Values = {
    "architectures": ["MistralForCausalLM"],
    "bos_token_id": 1,
    "eos_token_id": 2,
    "hidden_act": "silu",
    "hidden_size": 4096,
    "initializer_range": 0.02,
    "intermediate_size": 14336,
    "max_position_embeddings": 32768,
    "model_type": "mistral",
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "rms_norm_eps": 1e-05,
    "rope_theta": 10000.0,
    "sliding_window": 4096,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "transformers_version": "4.34.0.dev0",
    "use_cache": True,
    "vocab_size": 32000,
}
MISTRAL_7B = ModelConfig.uniform(
    dim=4096,
    n_layers=32,
    n_heads=32,
    n_kv_heads=8,
    head_dim=128,
    hidden_dim=14336,
    vocab_size=32000,
    norm_eps=1e-5,
    rope_theta=10_000.0,
    window=4096,
    max_positions=32768,
)
"""What both of version 0.1's files say."""

_MISTRAL = _changed(MISTRAL_V1, attention_dropout=0.0)
LLAMA_2_7B: Values = {
    "_name_or_path": "meta-llama/Llama-2-7b-hf",
    "architectures": ["LlamaForCausalLM"],
    "bos_token_id": 1,
    "eos_token_id": 2,
    "hidden_act": "silu",
    "hidden_size": 4096,
    "initializer_range": 0.02,
    "intermediate_size": 11008,
    "max_position_embeddings": 4096,
    "model_type": "llama",
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 32,
    "pretraining_tp": 1,
    "rms_norm_eps": 1e-05,
    "rope_scaling": None,
    "tie_word_embeddings": False,
    "torch_dtype": "float16",
    "transformers_version": "4.31.0.dev0",
    "use_cache": True,
    "vocab_size": 32000,
}
_LLAMA = _changed(LLAMA_2_7B, _name_or_path=..., rope_theta=10000.0)
_LLAMA_3 = _changed(
    _LLAMA,
    attention_bias=False,
    attention_dropout=0.0,
    bos_token_id=128000,
    eos_token_id=128009,
    intermediate_size=14336,
    max_position_embeddings=8192,
    num_key_value_heads=8,
    rope_theta=500000.0,
    torch_dtype="bfloat16",
    transformers_version="4.40.0.dev0",
    vocab_size=128256,
)
# What PretrainedConfig holds whatever the model, as mlx-lm's conversions and neuron_config.json
# write it out; read in a conversion of Mistral-7B-Instruct-v0.2 by mlx-lm.
_WRITTEN_OUT: Values = {
    "add_cross_attention": False,
    "bad_words_ids": None,
    "begin_suppress_tokens": None,
    "chunk_size_feed_forward": 0,
    "cross_attention_hidden_size": None,
    "decoder_start_token_id": None,
    "diversity_penalty": 0.0,
    "do_sample": False,
    "early_stopping": False,
    "encoder_no_repeat_ngram_size": 0,
    "exponential_decay_length_penalty": None,
    "finetuning_task": None,
    "forced_bos_token_id": None,
    "forced_eos_token_id": None,
    "id2label": {"0": "LABEL_0", "1": "LABEL_1"},
    "is_decoder": False,
    "is_encoder_decoder": False,
    "label2id": {"LABEL_0": 0, "LABEL_1": 1},
    "length_penalty": 1.0,
    "max_length": 20,
    "min_length": 0,
    "no_repeat_ngram_size": 0,
    "num_beam_groups": 1,
    "num_beams": 1,
    "num_return_sequences": 1,
    "output_attentions": False,
    "output_hidden_states": False,
    "output_scores": False,
    "pad_token_id": None,
    "prefix": None,
    "problem_type": None,
    "pruned_heads": {},
    "remove_invalid_values": False,
    "repetition_penalty": 1.0,
    "return_dict": True,
    "return_dict_in_generate": False,
    "sep_token_id": None,
    "suppress_tokens": None,
    "task_specific_params": None,
    "temperature": 1.0,
    "tf_legacy_loss": False,
    "tie_encoder_decoder": False,
    "tokenizer_class": None,
    "top_k": 50,
    "top_p": 1.0,
    "torchscript": False,
    "typical_p": 1.0,
    "use_bfloat16": False,
}
_SMOL = _changed(
    _LLAMA,
    bos_token_id=0,
    eos_token_id=0,
    hidden_size=576,
    initializer_range=0.041666666666666664,
    intermediate_size=1536,
    is_llama_config=True,
    max_position_embeddings=2048,
    num_attention_heads=9,
    num_hidden_layers=30,
    num_key_value_heads=3,
    rope_interleaved=False,
    tie_word_embeddings=True,
    vocab_size=49152,
)

SHARDED_CONFIG_JSON: dict[str, Values] = {
    # Printed by transformers 4.37 and 4.40 in notebooks and in a paper's appendix.
    "Mistral-7B-v0.1": _changed(
        _MISTRAL, _name_or_path="mistralai/Mistral-7B-v0.1", transformers_version="4.37.2"
    ),
    "Mistral-7B-Instruct-v0.1": _changed(
        _MISTRAL,
        _name_or_path="mistralai/Mistral-7B-Instruct-v0.1",
        transformers_version="4.40.0.dev0",
    ),
    # huggingface/trl#7204 compares its fields with transformers' defaults.
    "Mistral-7B-Instruct-v0.2": _changed(
        _MISTRAL, rope_theta=1000000.0, sliding_window=None, transformers_version="4.36.0"
    ),
    # mlc-ai/mlc-llm, model_preset.py, without the keys that are mlc's own.
    "Mistral-7B-v0.3": _changed(
        _MISTRAL,
        rope_theta=1000000.0,
        sliding_window=None,
        transformers_version="4.42.0.dev0",
        vocab_size=32768,
    ),
    # The same model's file, written out in full.
    "Mistral-7B-Instruct-v0.2 of mlx-lm in bfloat16": _changed(
        _MISTRAL | _WRITTEN_OUT,
        rope_theta=1000000.0,
        sliding_window=None,
        transformers_version="4.39.0.dev0",
    ),
    # kevinstephano/thunder_model_blocks, mistral_config.py.
    "Mistral-Nemo-Base-2407": _changed(
        _MISTRAL,
        _name_or_path="mistralai/Mistral-Nemo-Base-2407",
        head_dim=128,
        hidden_size=5120,
        max_position_embeddings=128000,
        num_hidden_layers=40,
        rope_theta=1000000.0,
        sliding_window=None,
        transformers_version="4.43.3",
        vocab_size=131072,
    ),
    # A benchmark of Hugging Face forms, beside codestral-mamba's.
    "Ministral-8B-Instruct-2410": _changed(
        _MISTRAL,
        head_dim=128,
        intermediate_size=12288,
        num_hidden_layers=36,
        rope_theta=100000000.0,
        sliding_window=32768,
        transformers_version="4.46.0.dev0",
        vocab_size=131072,
    ),
    # A test of a loader of Mistral Small 3.
    "Mistral-Small-24B": _changed(
        _MISTRAL,
        head_dim=128,
        hidden_size=5120,
        intermediate_size=32768,
        num_hidden_layers=40,
        rope_theta=100000000.0,
        sliding_window=None,
        vocab_size=131072,
    ),
    # A model card's account of the file: base, vocabulary, context and window.
    "openchat-3.5": _changed(
        MISTRAL_V1,
        _name_or_path="imone/Mistral_7B_with_EOT_token",
        eos_token_id=32000,
        max_position_embeddings=8192,
        vocab_size=32002,
    ),
    # A registry's test of occiglot, whose file lists these keys of interest.
    "occiglot-7b-eu5-instruct": _changed(_MISTRAL, vocab_size=32002),
    # An oracle's expectations of BioFM, trained with Mistral's code.
    "BioFM": _changed(
        _MISTRAL,
        head_dim=128,
        hidden_size=640,
        intermediate_size=2560,
        max_position_embeddings=32770,
        num_hidden_layers=23,
        rope_theta=100000.0,
        sliding_window=None,
        use_cache=False,
        vocab_size=512,
    ),
    # Quoted in several training scripts.
    "Llama-2-7b-hf": LLAMA_2_7B,
    "Llama-2-7b-hf of transformers 4.28": _changed(
        LLAMA_2_7B, pad_token_id=0, transformers_version="4.28.0"
    ),
    # NousResearch's copy, quoted in a model card, and printed by transformers 4.42.
    "Llama-2-7b-chat-hf": _changed(
        LLAMA_2_7B, _name_or_path="NousResearch/Llama-2-7b-chat-hf", pad_token_id=0
    ),
    "Llama-2-7b-chat-hf of transformers 4.42": _changed(
        _LLAMA,
        attention_bias=False,
        attention_dropout=0.0,
        mlp_bias=False,
        pad_token_id=0,
        transformers_version="4.42.3",
    ),
    # mlc-ai/mlc-llm, model_preset.py.
    "Llama-2-13b-hf": _changed(
        LLAMA_2_7B,
        hidden_size=5120,
        intermediate_size=13824,
        num_attention_heads=40,
        num_hidden_layers=40,
        num_key_value_heads=40,
        pad_token_id=0,
        pretraining_tp=2,
    ),
    "CodeLlama-7b-hf": _changed(
        LLAMA_2_7B,
        _name_or_path="codellama/CodeLlama-7b-hf",
        max_position_embeddings=16384,
        rope_theta=1000000,
        transformers_version="4.33.0.dev0",
        vocab_size=32016,
    ),
    "TinyLlama-1.1B-Chat-v0.4": _changed(
        _LLAMA,
        _name_or_path="/data/tianduo/tinyllama-ft/checkpoint-3890",
        hidden_size=2048,
        intermediate_size=5632,
        max_position_embeddings=2048,
        num_hidden_layers=22,
        num_key_value_heads=4,
        torch_dtype="float32",
        transformers_version="4.33.1",
        use_cache=False,
        vocab_size=32003,
    ),
    # A neuron_config.json lists the written-out keys of this one.
    "TinyLlama-1.1B-Chat-v1.0": _changed(
        _LLAMA | _WRITTEN_OUT,
        _attn_implementation_autoset=False,
        attention_bias=False,
        attribute_map={},
        head_dim=64,
        hidden_size=2048,
        intermediate_size=5632,
        max_position_embeddings=2048,
        num_hidden_layers=22,
        num_key_value_heads=4,
        transformers_version="4.35.0",
    ),
    # A training project that starts from nanotron's configuration.
    "SmolLM-135M": _SMOL,
    # Printed by transformers 4.48 in a parameter count.
    "SmolLM2-135M": _changed(
        _SMOL,
        _name_or_path="HuggingFaceTB/SmolLM2-135M",
        attention_bias=False,
        attention_dropout=0.0,
        head_dim=64,
        mlp_bias=False,
        rope_theta=100000,
        transformers_version="4.48.0",
    ),
    # Notes on finetuning with axolotl.
    "Nous-Hermes-2-SOLAR-10.7B": _changed(
        _LLAMA,
        _name_or_path="upstage/SOLAR-10.7B-v1.0",
        attention_bias=False,
        attention_dropout=0.0,
        eos_token_id=32000,
        intermediate_size=14336,
        num_hidden_layers=48,
        num_key_value_heads=8,
        torch_dtype="bfloat16",
        transformers_version="4.37.0.dev0",
        use_cache=False,
        vocab_size=32002,
    ),
    # A log of Hermes' function-calling evaluation.
    "Hermes-2-Pro-Llama-3-8B": _changed(
        _LLAMA_3, _name_or_path="NousResearch/Hermes-2-Pro-Llama-3-8B", eos_token_id=128003
    ),
    # As above, unquantised.
    "Meta-Llama-3-8B-Instruct": _changed(
        _LLAMA_3,
        _attn_implementation_autoset=True,
        _name_or_path="NousResearch/Meta-Llama-3-8B-Instruct",
        head_dim=128,
        mlp_bias=False,
    ),
    # unsloth writes its version into the configuration of what it trains (tokenizer_utils.py).
    "a finetune by unsloth": _changed(
        _MISTRAL, _name_or_path="unsloth/mistral-7b", unsloth_version="2024.9.post4"
    ),
    # As transformers 5.24 saves a Mistral (save_pretrained, tried).
    "a Mistral of transformers 5": _changed(
        _MISTRAL,
        dtype="bfloat16",
        head_dim=128,
        pad_token_id=None,
        rope_parameters={"rope_theta": 10000.0, "rope_type": "default"},
        rope_theta=...,
        torch_dtype=...,
        transformers_version="5.24.0",
    ),
}

REFUSED_CONFIG_JSON: dict[str, tuple[Values, str]] = {
    # Loaded with bitsandbytes and saved so.
    "Meta-Llama-3-8B-Instruct in 4 bits": (
        _changed(_LLAMA_3, quantization_config={"_load_in_4bit": True, "load_in_8bit": False}),
        "quantization_config",
    ),
    # mlx-lm's conversion in 4 bits.
    "Mistral-7B-Instruct-v0.2-4bit-mlx": (
        _changed(_MISTRAL | _WRITTEN_OUT, quantization={"group_size": 64, "bits": 4}),
        "quantization",
    ),
    # mlc-ai/mlc-llm, model_preset.py.
    "Mixtral-8x7B-v0.1": (
        _changed(
            _MISTRAL,
            architectures=["MixtralForCausalLM"],
            model_type="mixtral",
            num_experts_per_tok=2,
            num_local_experts=8,
            output_router_logits=False,
            router_aux_loss_coef=0.02,
        ),
        "MixtralForCausalLM",
    ),
    # The text's part of Ministral 3, as if it stood alone.
    "ministral3": (
        _changed(
            _MISTRAL,
            rope_parameters={
                "beta_fast": 32.0,
                "factor": 16.0,
                "llama_4_scaling_beta": 0.1,
                "rope_theta": 1000000.0,
                "rope_type": "yarn",
                "type": "yarn",
            },
        ),
        "rope_parameters",
    ),
    # echarlaix/tiny-random-mistral, quoted in a loader.
    "tiny-random-mistral": (
        _changed(
            _MISTRAL,
            attention_probs_dropout_prob=0.1,
            hidden_act="gelu",
            hidden_dropout_prob=0.1,
        ),
        "hidden_act",
    ),
    # Qwen3's keys under Mistral's name: its normed queries would be left out.
    "qwen3 renamed": (
        _changed(_MISTRAL, sliding_window=None, use_sliding_window=False, use_qk_norm=True),
        "use_qk_norm",
    ),
}

MISTRAL_V1_PARAMS: Values = {  # quoted in notes on MLX's example of Mistral
    "dim": 4096,
    "n_layers": 32,
    "head_dim": 128,
    "hidden_dim": 14336,
    "n_heads": 32,
    "n_kv_heads": 8,
    "norm_eps": 1e-05,
    "sliding_window": 4096,
    "vocab_size": 32000,
}
MISTRAL_V2_PARAMS = _changed(  # edadaltocg/mistral-src-finetune, config.py
    MISTRAL_V1_PARAMS, rope_theta=1000000.0, sliding_window=...
)

SHARDED_PARAMS_JSON: dict[str, Values] = {
    "Mistral-7B-v0.1": MISTRAL_V1_PARAMS,
    "Mistral-7B-v0.2-Instruct": MISTRAL_V2_PARAMS,
    "Mistral-7B-v0.3": _changed(MISTRAL_V2_PARAMS, vocab_size=32768),
    # A test of transformers' reader of params.json.
    "a Mistral that says its length": _changed(
        MISTRAL_V1_PARAMS, rope_theta=10000.0, max_position_embeddings=32768
    ),
}

REFUSED_PARAMS_JSON: dict[str, tuple[Values, str]] = {
    # MLX's conversion of version 0.1 drops the window.
    "Mistral-7B-v0.1 of MLX": (_changed(MISTRAL_V1_PARAMS, sliding_window=...), "rope_theta"),
    # Voxtral-Mini-3B-2507, in a test of a converter.
    "Voxtral-Mini-3B-2507": (
        _changed(
            MISTRAL_V2_PARAMS,
            dim=3072,
            hidden_dim=8192,
            max_position_embeddings=131072,
            multimodal={"whisper_model_args": {"encoder_args": {}}},
            n_layers=30,
            rope_theta=100000000.0,
            vocab_size=131072,
        ),
        "multimodal",
    ),
    # Meta's own file of CodeLlama, whose weights are pickles anyway.
    "CodeLlama-7b": (
        {
            "dim": 4096,
            "n_layers": 32,
            "n_heads": 32,
            "multiple_of": 256,
            "ffn_dim_multiplier": 1.0,
            "norm_eps": 1e-5,
            "rope_theta": 1000000,
            "vocab_size": 32016,
        },
        "head_dim",
    ),
}
