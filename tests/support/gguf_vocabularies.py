"""Small tokenizers as GGUF files have them: by keys, without the model around them."""

from typing import Any

import numpy as np

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
CHATML = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + "
    "'<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
    "{% endif %}"
)
_WORDS = ("th", "the", "Ġthe", "Ġf", "ox", "Ġfox", "12")
_MERGES = ("t h", "th e", "Ġ the", "Ġ f", "o x", "Ġf ox", "1 2")


def byte_alphabet() -> list[str]:
    """GPT-2's character for each byte (``bytes_to_unicode`` of its encoder.py)."""
    own = [*range(33, 127), *range(161, 173), *range(174, 256)]
    spare = iter(range(256, 512))
    return [chr(byte if byte in own else next(spare)) for byte in range(256)]


def byte_level_keys(pre: str = "qwen2", size: int | None = None, **changes: Any) -> dict[str, Any]:
    """256 bytes, a few words, ChatML's tokens; filled up to ``size`` with unused ones."""
    tokens = [*byte_alphabet(), *_WORDS, "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>"]
    types = [NORMAL] * (len(tokens) - 4) + [CONTROL] * 3 + [USER_DEFINED]
    count = len(tokens)
    unused = range(count, size or count)
    tokens += [f"[PAD{number}]" for number in unused]
    types += [UNUSED] * len(unused)
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": pre,
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": np.array(types, np.int32),
        "tokenizer.ggml.merges": list(_MERGES),
        "tokenizer.ggml.bos_token_id": count - 4,
        "tokenizer.ggml.eos_token_id": count - 2,
        "tokenizer.ggml.add_bos_token": False,
        "tokenizer.chat_template": CHATML,
    } | changes


def sentencepiece_keys(size: int | None = None, **changes: Any) -> dict[str, Any]:
    """Llama's first 259 tokens, letters and a few words, and ``<|im_end|>`` added behind them."""
    words = ["▁t", "he", "▁the", "▁f", "ox", "▁fox", "▁", *"abcdefghijklmnopqrstuvwxyz.,é"]
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *words]
    types = [UNKNOWN, CONTROL, CONTROL, *[BYTE] * 256, *[NORMAL] * len(words)]
    scores = [0.0] * 259 + [-float(rank) for rank in range(len(words))]
    added = [("<|im_start|>", CONTROL), ("<|im_end|>", CONTROL), ("new word", USER_DEFINED)]
    tokens += [spelling for spelling, _ in added]
    types += [type_ for _, type_ in added]
    unused = range(len(tokens), size or len(tokens))
    tokens += [f"[PAD{number}]" for number in unused]
    types += [UNUSED] * len(unused)
    scores += [-1000.0] * (len(tokens) - len(scores))
    return {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.pre": "default",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": np.array(types, np.int32),
        "tokenizer.ggml.scores": np.array(scores, np.float32),
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 0,
    } | changes
