"""Make ``golden_texts.json`` and ``tokenizers/``: texts and chats as transformers encodes them.

    python -m venv golden-env
    golden-env/bin/pip install transformers==5.24.0
    golden-env/bin/python tests/parity/make_text_goldens.py

Each family's ``tokenizer.json`` is trained here, small, with the family's own steps around the
model: regexes, normalizer, post-processor, flags. Templates are in our own words, in the forms
that the families' templates have.

transformers' own class for GPT-2 leaves out the split at digits that SmolLM2's file has, so the
files are read by the class that takes them as they are.
"""

import json
import random
import tempfile
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import AutoTokenizer

HERE = Path(__file__).resolve().parent
GOLDENS, FILES = HERE / "golden_texts.json", HERE / "tokenizers"
PIECES = 420

WORDS = "'s|'t|'re|'ve|'m|'ll|'d"
REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LETTERS = r"[^\r\n\p{L}\p{N}]?\p{L}+"
LLAMA_3 = rf"(?i:{WORDS})|{LETTERS}|\p{{N}}{{1,3}}|{REST}"
QWEN_2 = rf"(?i:{WORDS})|{LETTERS}|\p{{N}}|{REST}"
GPT_4O = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    rf"(?i:{WORDS})?|[^\r\n\p{{L}}\p{{N}}]?[\p{{Lu}}\p{{Lt}}\p{{Lm}}\p{{Lo}}\p{{M}}]+"
    rf"[\p{{Ll}}\p{{Lm}}\p{{Lo}}\p{{M}}]*(?i:{WORDS})?|\p{{N}}{{1,3}}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CORPUS = [
    "The brave fox found a lost kite. Don't go, I'LL follow you!",
    "In 1984 there were 1234567 foxes; x = 12 + 3.5",
    "Ein Füchsin läuft über die Brücke, déjà vu, naïve café.",
    "def f(x):\n    return x  # 狐狸 跑 过 去\r\n\n\tend",
    "Лиса и журавль. السلام عليكم हिन्दी 👩‍🚀 ☺",
]
ROUND = "{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}"
CHATML = (
    f"{{% for m in messages %}}{ROUND}{{% endfor %}}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
HEADERS = (
    "{{- bos_token }}{% if tools is not none %}{{ 'tools' }}{% endif %}"
    "{% if not date_string is defined %}{% set date_string = '26 Jul 2024' %}{% endif %}"
    "{{- date_string }}{% for m in messages %}{{- '<|start_header_id|>' + m['role'] + "
    "'<|end_header_id|>\n\n' + m['content'] | trim + '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}"
    "{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
THINKING = (
    "{% for m in messages %}{% set said = m.content %}{% if m.role == 'assistant' and "
    "'</think>' in said %}{% set thought = said.split('</think>')[0].split('<think>')[-1] %}"
    "{% set said = said.split('</think>')[-1].lstrip('\n') %}{% endif %}"
    "{{ '<|im_start|>' + m.role + '\n' + said + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
    "{% if enable_thinking is defined and enable_thinking is false %}"
    "{{ '<think>\n\n</think>\n\n' }}{% endif %}{% endif %}"
)
LINES = (
    "{% for m in messages %}{{ '<|' + m['role'] + '|>\n' + m['content'] + eos_token + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)
BYTE_LEVEL = {
    "type": "ByteLevel",
    "add_prefix_space": False,
    "trim_offsets": True,
    "use_regex": False,
}


def split(pattern: str) -> dict[str, Any]:
    steps = [
        {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False},
        BYTE_LEVEL,
    ]
    return {"type": "Sequence", "pretokenizers": steps}


def begins_with(token: str, token_id: int) -> dict[str, Any]:
    """A post-processor that puts the token before each text."""
    special, text = (
        {"SpecialToken": {"id": token, "type_id": 0}},
        {"Sequence": {"id": "A", "type_id": 0}},
    )
    ids = {token: {"id": token, "ids": [token_id], "tokens": [token]}}
    return {
        "type": "TemplateProcessing",
        "single": [special, text],
        "pair": [special, text, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": ids,
    }


def byte_level(pre_tokenizer: dict[str, Any]) -> dict[str, Any]:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=PIECES,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.decoder = decoders.ByteLevel()
    return json.loads(tokenizer.to_str()) | {"pre_tokenizer": pre_tokenizer}


def like_sentencepiece(*, legacy: bool) -> dict[str, Any]:
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=PIECES, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(CORPUS[:3], trainer)
    values = json.loads(tokenizer.to_str())
    values["added_tokens"] = values["added_tokens"][:3]
    replaced = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    prepended = {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, replaced]}
    first = {
        "type": "Metaspace",
        "replacement": "▁",
        "prepend_scheme": "first",
        "split": False,
    }
    back = [
        {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
        {"type": "Strip", "content": " ", "start": 1, "stop": 0},
    ]
    return values | {
        "normalizer": prepended if legacy else None,
        "pre_tokenizer": None if legacy else first,
        "decoder": {"type": "Sequence", "decoders": back},
        "post_processor": begins_with("<s>", 1),
    }


def added(values: dict[str, Any], *spellings: str, **flags: Any) -> dict[str, Any]:
    """The file with more tokens behind its pieces."""
    no = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    taken = {*values["model"]["vocab"].values(), *(t["id"] for t in values["added_tokens"])}
    first = max(taken) + 1
    more = [
        {"id": first + n, "content": spelling, **no, "special": True, **flags}
        for n, spelling in enumerate(spellings)
    ]
    return values | {"added_tokens": values["added_tokens"] + more}


def entries() -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    headers = ("<|begin_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>")
    llama = added(byte_level(split(LLAMA_3)), *headers)
    llama["model"]["ignore_merges"] = True
    bos_id = llama["added_tokens"][0]["id"]
    llama["post_processor"] = {
        "type": "Sequence",
        "processors": [BYTE_LEVEL, begins_with("<|begin_of_text|>", bos_id)],
    }
    qwen = byte_level(split(QWEN_2)) | {"normalizer": {"type": "NFC"}}
    qwen = added(qwen, "<|endoftext|>", "<|im_start|>", "<|im_end|>")
    qwen = added(qwen, "<think>", "</think>", "<tool_call>", special=False)
    digits = [{"type": "Digits", "individual_digits": True}, BYTE_LEVEL | {"use_regex": True}]
    smol = added(
        byte_level({"type": "Sequence", "pretokenizers": digits}),
        *("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
    )
    flagged = added(byte_level(split(GPT_4O)), "<|im_start|>", "<|im_end|>")
    flagged = added(flagged, "<l>", lstrip=True)
    flagged = added(flagged, "<r>", rstrip=True, special=False)
    flagged = added(flagged, "kite", single_word=True, special=False)
    eos = {"eos_token": "<|im_end|>"}
    sentence = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    marked = "<l> {{ messages[-1].content }} <l>  a<r>  kite kites{{ eos_token }}<r>"
    return {
        "llama-3": (
            llama,
            {"bos_token": headers[0], "eos_token": headers[1], "chat_template": HEADERS},
        ),
        "qwen-3": (
            qwen,
            {**eos, "bos_token": None, "add_bos_token": False, "chat_template": THINKING},
        ),
        "smollm-2": (smol, {**eos, "bos_token": "<|im_start|>", "chat_template": CHATML}),
        "gpt-4o-with-flags": (flagged, {**eos, "chat_template": marked}),
        "like-sentencepiece": (
            like_sentencepiece(legacy=False),
            {**sentence, "chat_template": LINES},
        ),
        "like-sentencepiece-legacy": (
            like_sentencepiece(legacy=True),
            {**sentence, "add_bos_token": True, "chat_template": LINES},
        ),
        "without-a-post-processor": (
            smol,
            {**eos, "bos_token": "<|endoftext|>", "add_bos_token": True, "chat_template": CHATML},
        ),
    }


PARTS = (
    *(
        "hello",
        " world",
        "The brave",
        " fox",
        "\n",
        "\n\n",
        " ",
        "  ",
        "   ",
        "\t",
        "1234567",
        "12 3",
    ),
    *(
        "don't",
        "I'LL",
        "é",
        "e\u0301",
        "☺",
        "👩\u200d🚀",
        "狐狸",
        "हिन्दी",
        "السلام",
        "\r\n",
        "\x00",
    ),
    *("\u00a0", "\u3000", "ﬁ", "x = 1;", "kites", "▁", "…", "\ufeff", "ß", "İ", "ǅ", "_", "\ufffd"),
    *(
        "'s",
        " '",
        "<",
        "|>",
        "/think",
        "[INST]",
        "def f(x):\n    return x\n",
        "\U0001d518",
        "<0x41>",
    ),
)


def text(draw: random.Random, most: int) -> str:
    def part() -> str:
        if draw.random() < 0.8:
            return draw.choice(PARTS)
        ranges = ((0x20, 0x2FF), (0x300, 0xD7FF), (0xE000, 0xFFFF), (0x10000, 0x1FFFF))
        return chr(draw.randint(*draw.choice(ranges)))

    return "".join(part() for _ in range(draw.randint(1, most)))


def chats(draw: random.Random) -> list[list[dict[str, str]]]:
    found = []
    for turns in (0, 0, 1, 2, 3):
        chat = [{"role": "system", "content": text(draw, 5)}] if draw.random() < 0.5 else []
        for _ in range(turns):
            chat.append({"role": "user", "content": text(draw, 6)})
            chat.append({"role": "assistant", "content": text(draw, 6)})
        found.append([*chat, {"role": "user", "content": text(draw, 6)}])
    thought = "<think>\nhm\n</think>\n\nA fox."
    said = [*found[0][-1:], {"role": "assistant", "content": thought}, *found[1][-1:]]
    return [*found, said]


def main() -> None:
    draw = random.Random(5)
    texts, talks = [text(draw, 12) for _ in range(120)], chats(draw)
    goldens = {}
    FILES.mkdir(exist_ok=True)
    for name, (values, config) in entries().items():
        path = FILES / f"{name}.json"
        path.write_text(json.dumps(values, ensure_ascii=False, separators=(",", ":")) + "\n")
        config = config | {"tokenizer_class": "PreTrainedTokenizerFast"}
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "tokenizer.json").write_text(path.read_text())
            (Path(folder) / "tokenizer_config.json").write_text(json.dumps(config))
            (Path(folder) / "config.json").write_text('{"model_type": "llama"}')
            tokenizer = AutoTokenizer.from_pretrained(folder)
        ids = [tokenizer.encode(one, add_special_tokens=False) for one in texts]
        goldens[name] = {
            "config": config,
            "vocab_size": len(tokenizer),
            "ids": ids,
            "beginning": tokenizer.encode("fox"),
            "decoded": [tokenizer.backend_tokenizer.decode(one) for one in ids],
            "chats": [rendered(tokenizer, chat) for chat in talks],
            "not thinking": rendered(tokenizer, talks[0], enable_thinking=False),
        }
    content = {"texts": texts, "chats": talks, "tokenizers": goldens}
    GOLDENS.write_text(json.dumps(content, separators=(",", ":")) + "\n")


def rendered(tokenizer: Any, chat: list[dict[str, str]], **switches: bool) -> list[int]:
    found: list[int] = tokenizer.apply_chat_template(
        chat, add_generation_prompt=True, return_dict=False, **switches
    )
    return found


if __name__ == "__main__":
    main()
