"""Make ``golden_chats.json``: chats of finetunes as transformers gives them to a model.

    python -m venv golden-env
    golden-env/bin/pip install transformers==5.24.0 sentencepiece protobuf
    golden-env/bin/python tests/parity/make_chat_goldens.py
    golden-env/bin/pip install transformers==4.46.3
    golden-env/bin/python tests/parity/make_chat_goldens.py --slow

The vocabulary is the storyteller's; added tokens and the forms of the templates are those of public
finetunes of Mistral 7B, in our own words. Each entry holds the files that a checkpoint has beside
``tokenizer.model``, the size of the model's vocabulary, and the ids of each chat.

transformers 5.24.0 made the ids, and we follow it. The Python tokenizers of 4.46.3 (``--slow``)
give the same for entries with ``"slow": true``. They know no control pieces of SentencePiece, keep
the dummy prefix of an empty text before a token where ``legacy`` is false, and end a word at spaces
alone. In one thing we follow them: a chat that begins with a space gets a dummy prefix all the
same, which 5.24.0 leaves out where ``legacy`` is false.
"""

import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

HERE = Path(__file__).resolve().parent
GOLDENS = HERE / "golden_chats.json"
MODEL = HERE.parents[1] / "storyteller" / "checkpoint" / "tokenizer.model"

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] "
    "+ '<|im_end|>' + '\n' }}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|im_start|>assistant\n' }}{% endif %}"
)
END_OF_TURN = (
    "{{ bos_token }}{% for message in messages %}{{ 'GPT4 Correct ' + message['role'].title() "
    "+ ': ' + message['content'] + '<|end_of_turn|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'GPT4 Correct Assistant:' }}{% endif %}"
)
LINES = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>\n' + message['content'] "
    "+ eos_token + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)
QUESTION = [{"role": "user", "content": "Who is the brave fox?"}]
CHATS = [
    QUESTION,
    [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "  Hello fox \n"},
        {"role": "assistant", "content": "A kite ☃."},
        *QUESTION,
    ],
]


def added(content: str, **flags: bool) -> dict[str, Any]:
    no = dict.fromkeys(("lstrip", "normalized", "rstrip", "single_word"), False)
    return {"content": content, "special": True, **no, **flags}


def config(template: str, tokens: dict[int, dict[str, Any]], **more: Any) -> dict[str, Any]:
    basic = {0: added("<unk>"), 1: added("<s>"), 2: added("</s>")}
    return {
        "added_tokens_decoder": {str(i): token for i, token in sorted((basic | tokens).items())},
        "bos_token": "<s>",
        "chat_template": template,
        "eos_token": "</s>",
        "legacy": True,
        "tokenizer_class": "LlamaTokenizer",
        "unk_token": "<unk>",
        **more,
    }


IM_START, IM_END = "<|im_start|>", "<|im_end|>"
MARKED = "{% for message in messages %}a <x> {{ message['content'] }}  <x>  b<x><x>{% endfor %}"
STRIP = {i: added(s, lstrip=True, rstrip=True) for i, s in enumerate(("<unk>", "<s>", "</s>"))}

ENTRIES: dict[str, dict[str, Any]] = {
    "ChatML, as OpenHermes 2.5 has it": {
        "tokenizer_config.json": config(
            CHATML, {2048: added(IM_END), 2049: added(IM_START)}, eos_token=IM_END
        )
    },
    "ChatML, as Dolphin 2 has it: the beginning is not special": {
        "tokenizer_config.json": config(
            CHATML, {2048: added(IM_END), 2049: added(IM_START, special=False)}, eos_token=IM_END
        )
    },
    "ChatML without legacy": {
        "tokenizer_config.json": config(
            CHATML, {2048: added(IM_END), 2049: added(IM_START)}, eos_token=IM_END, legacy=False
        )
    },
    "ChatML in added_tokens.json alone": {
        "added_tokens.json": {IM_END: 2048, IM_START: 2049},
        "special_tokens_map.json": {
            "bos_token": added("<s>", normalized=True),
            "eos_token": IM_END,
            "unk_token": "<unk>",
        },
        "tokenizer_config.json": {
            "chat_template": CHATML,
            "legacy": True,
            "tokenizer_class": "LlamaTokenizer",
        },
    },
    "an end of turn, as OpenChat 3.5 and Starling have it": {
        "tokenizer_config.json": config(
            END_OF_TURN,
            {2048: added("<|end_of_turn|>"), 2049: added("<|pad_0|>", special=False)},
            eos_token="<|end_of_turn|>",
        )
    },
    "special tokens that eat the white space around them": {
        "tokenizer_config.json": config(LINES, STRIP)
    },
    "a token that eats the white space on its left": {
        "tokenizer_config.json": config(MARKED, {2048: added("<x>", lstrip=True)})
    },
    "a token that eats the white space on its right": {
        "tokenizer_config.json": config(MARKED, {2048: added("<x>", rstrip=True)})
    },
    "a token that is no special one": {
        "tokenizer_config.json": config(MARKED, {2048: added("<x>", special=False)})
    },
    "a word that is a token alone": {
        "tokenizer_config.json": config(
            "{% for m in messages %}kite kites kite. _kite {{ m['content'] }}{% endfor %}",
            {2048: added("kite", special=False, single_word=True)},
        )
    },
    "words that are tokens anywhere": {
        "tokenizer_config.json": config(
            "{{ bos_token }}{% for m in messages %}[{{ m['content'] }}]{% endfor %}",
            {2048: added("fox", special=False), 2049: added("brave fo", special=False)},
        )
    },
    "of tokens that begin alike, the longest": {
        "tokenizer_config.json": config(
            "{{ '<a><a><b><a><b><c>' }}",
            {2048: added("<a>"), 2049: added("<a><b>"), 2050: added("<b><c>")},
        )
    },
    "control pieces of SentencePiece in a configuration that lists none": {
        "tokenizer_config.json": config(
            "{{ bos_token }}[INST] {{ messages[-1]['content'] }} [/INST]{{ unk_token }}x", {}
        )
    },
}


def main() -> None:
    slow = "--slow" in sys.argv
    goldens = json.loads(GOLDENS.read_text())["checkpoints"] if slow else {}
    for name, files in ENTRIES.items():
        with tempfile.TemporaryDirectory() as folder:
            shutil.copy(MODEL, folder)
            (Path(folder) / "config.json").write_text('{"model_type": "mistral"}')
            for file_name, values in files.items():
                (Path(folder) / file_name).write_text(json.dumps(values))
            tokenizer = AutoTokenizer.from_pretrained(folder, use_fast=not slow)
            ids = [encode(tokenizer, chat) for chat in CHATS]
        if slow:
            goldens[name]["slow"] = ids == goldens[name]["ids"]
        else:
            goldens[name] = {"files": files, "vocab_size": 2056, "ids": ids}
    GOLDENS.write_text(json.dumps({"chats": CHATS, "checkpoints": goldens}, indent=1) + "\n")


def encode(tokenizer: Any, chat: list[dict[str, str]]) -> list[int]:
    text = tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
    ids: list[int] = tokenizer.encode(text, add_special_tokens=False)
    return ids


if __name__ == "__main__":
    main()
