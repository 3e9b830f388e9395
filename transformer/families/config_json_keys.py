"""Keys of ``config.json`` that leave what a Mistral or Llama computes as it is, and why.

Seen in checkpoints written by transformers 4.28 to 5.24 and by what is built upon it.
"""

from typing import Any

# Where the file comes from, what wrote it, and how it is called.
_ORIGIN = {
    *("_name_or_path", "name_or_path", "_commit_hash", "transformers_version"),
    *("unsloth_version", "unsloth_fixed", "is_llama_config", "transformers.js_config"),
}
# How weights are held and how the model is run there; here that is decided anew.
_RUNNING = {
    *("torch_dtype", "dtype", "use_bfloat16", "torchscript", "use_cache", "return_dict"),
    *("output_attentions", "output_hidden_states", "output_scores", "return_dict_in_generate"),
    *("attn_implementation", "_attn_implementation", "_attn_implementation_autoset"),
    *("_attn_implementation_internal", "_flash_attn_2_enabled", "use_flash_attention_2"),
    *("_experts_implementation", "experts_implementation", "chunk_size_feed_forward"),
    *("attribute_map", "keys_to_ignore_at_inference", "low_cpu_mem_usage", "device_map"),
    *("trust_remote_code", "base_model_tp_plan", "base_model_pp_plan", "tp_plan"),
    # Cuts a matrix into slices whose products are added: the same sum in another order.
    "pretraining_tp",
}
# Training alone; dropout is nothing at inference.
_TRAINING = {
    *("initializer_range", "attention_dropout", "hidden_dropout", "attention_probs_dropout_prob"),
    *("hidden_dropout_prob", "resid_pdrop", "embd_pdrop", "attn_pdrop", "classifier_dropout"),
    *("gradient_checkpointing", "use_reentrant_checkpointing", "neftune_noise_alpha"),
    *("tf_legacy_loss", "label_smoothing", "router_aux_loss_coef"),
}
# How ids are chosen from logits: what whoever asks decides.
_GENERATION = {
    *("max_length", "min_length", "max_new_tokens", "do_sample", "early_stopping", "num_beams"),
    *("num_beam_groups", "diversity_penalty", "temperature", "top_k", "top_p", "typical_p"),
    *("repetition_penalty", "length_penalty", "no_repeat_ngram_size", "num_return_sequences"),
    *("encoder_no_repeat_ngram_size", "bad_words_ids", "forced_bos_token_id"),
    *("forced_eos_token_id", "remove_invalid_values", "exponential_decay_length_penalty"),
    *("suppress_tokens", "begin_suppress_tokens"),
}
# The text's side: read from other files, or, bos and eos, by whoever looks for special ids.
_TEXT = {
    *("bos_token_id", "eos_token_id", "pad_token_id", "unk_token_id", "sep_token_id"),
    *("cls_token_id", "mask_token_id", "decoder_start_token_id", "tokenizer_class", "prefix"),
}
# Classification and other tasks that are none of a text model's head.
_TASKS = {
    *("id2label", "label2id", "num_labels", "finetuning_task", "task_specific_params"),
    *("problem_type", "is_decoder", "cross_attention_hidden_size"),
}
# Lengths in other programs' words. The table of angles was once made for so many positions.
_LENGTHS = {
    *("max_sequence_length", "max_seq_len", "max_seq_length", "seq_length", "model_max_length"),
    *("n_ctx", "original_max_position_embeddings"),
}

HARMLESS = frozenset(_ORIGIN | _RUNNING | _TRAINING | _GENERATION | _TEXT | _TASKS | _LENGTHS)

HARMLESS_VALUES: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys(("attention_bias", "mlp_bias", "qkv_bias", "use_bias", "bias"), (False,)),
    **dict.fromkeys(("attention_qkv_bias", "attention_out_bias", "lm_head_bias"), (False,)),
    **dict.fromkeys(("qk_norm", "use_qk_norm", "qk_layernorm", "qk_layer_norms"), (False,)),
    **dict.fromkeys(("is_encoder_decoder", "add_cross_attention"), (False,)),
    **dict.fromkeys(("tie_encoder_decoder", "alibi", "rope_interleaved"), (False,)),
    **dict.fromkeys(("num_experts", "num_local_experts", "num_experts_per_tok"), (0,)),
    **dict.fromkeys(("n_routed_experts", "moe_intermediate_size"), (0,)),
    **dict.fromkeys(("embedding_multiplier", "residual_multiplier"), (1,)),
    **dict.fromkeys(("logits_scaling", "logit_scale"), (1,)),
    **dict.fromkeys(("pruned_heads", "sparsity_config"), ({},)),
    **dict.fromkeys(("norm_type", "normalization"), ("rms_norm", "rmsnorm", "RMSNorm")),
    **dict.fromkeys(("activation", "activation_function", "hidden_activation"), ("silu", "swish")),
    "mlp_activation": ("silu", "swish"),
    **dict.fromkeys(("is_causal", "causal"), (True,)),
    **dict.fromkeys(("output_router_logits", "use_mrope"), (False,)),
}
