"""Make ``golden_tool_chats.json``: chats with tools, and begun answers, as transformers has them.

    python -m venv golden-env
    golden-env/bin/pip install transformers==5.24.0 sentencepiece protobuf
    golden-env/bin/python -m tests.parity.make_tool_goldens

The vocabulary is the storyteller's, and the templates are those of `make_chat_goldens` and others
that have the forms of public ones, in our own words: how Hermes and Qwen, Llama 3 and Mistral's
converted checkpoints tell of tools, of calls and of their results.
"""

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from tests.parity.make_chat_goldens import CHATML, ENTRIES, IM_END, IM_START, MODEL, added, config

GOLDENS = Path(__file__).resolve().parent / "golden_tool_chats.json"

HERMES = (
    "{% if tools %}{{ '<|im_start|>system\nTools:' }}{% for tool in tools %}"
    "{{ '\n' + tool | tojson }}{% endfor %}{{ '<|im_end|>\n' }}{% endif %}"
    "{% for message in messages %}{% if message.role == 'tool' %}"
    "{{ '<|im_start|>user\n<tool_response>\n' + message.content }}"
    "{{ '\n</tool_response><|im_end|>\n' }}"
    "{% else %}{{ '<|im_start|>' + message.role + '\n' + (message.content or '') }}"
    '{% for call in message.tool_calls or [] %}{{ \'<tool_call>\n{"name": "\' }}'
    '{{ call.function.name + \'", "arguments": \' }}{{ call.function.arguments | tojson }}'
    "{{ '}\n</tool_call>' }}{% endfor %}{{ '<|im_end|>\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LLAMA = (
    "{{ bos_token }}{% for tool in tools or [] %}{{ tool | tojson(indent=4) + '\n\n' }}{% endfor %}"
    "{% for message in messages %}{{ '[' + message.role + ']' }}{% if message.tool_calls %}"
    "{% set call = message.tool_calls[0].function %}"
    "{{ '{\"name\": \"' + call.name + '\", \"parameters\": ' + call.arguments | tojson + '}' }}"
    "{% elif message.role == 'tool' %}{{ message.content | tojson }}{% else %}"
    "{{ message.content | trim }}{% endif %}{{ eos_token }}{% endfor %}"
)
MISTRAL = (
    "{{ bos_token }}{% for message in messages %}{% if message.role == 'user' %}"
    "{% if tools and loop.first %}{{ '[AVAILABLE_TOOLS] ' + tools | tojson }}"
    "{{ '[/AVAILABLE_TOOLS]' }}{% endif %}"
    "{{ '[INST] ' + message.content + '[/INST]' }}{% elif message.tool_calls %}"
    "{{ '[TOOL_CALLS] [' }}{% for call in message.tool_calls %}{% if call.id | length != 9 %}"
    "{{ raise_exception('ids have 9 characters') }}{% endif %}{{ (call.function | tojson)[:-1] }}"
    "{{ ', \"id\": \"' + call.id + '\"}' }}{{ ', ' if not loop.last }}{% endfor %}"
    "{{ ']' + eos_token }}"
    "{% elif message.role == 'tool' %}{{ '[TOOL_RESULTS] {\"content\": ' }}"
    "{{ message.content | string }}"
    "{{ ', \"call_id\": \"' + message.tool_call_id + '\"}[/TOOL_RESULTS]' }}{% else %}"
    "{{ ' ' + message.content + eos_token }}{% endif %}{% endfor %}"
)
MARKED = {2048: added(IM_END), 2049: added(IM_START)}
TAGGED = {**MARKED, 2050: added("<tool_call>", special=False), 2051: added("</tool_call>")}
TOOL_ENTRIES: dict[str, dict[str, Any]] = {
    "tags, as Hermes and Qwen have them": {
        "tokenizer_config.json": config(HERMES, TAGGED, eos_token=IM_END)
    },
    "tags in a template of their own beside the default": {
        "tokenizer_config.json": config(CHATML, TAGGED, eos_token=IM_END)
        | {
            "chat_template": [
                {"name": "default", "template": CHATML},
                {"name": "tool_use", "template": HERMES},
            ]
        }
    },
    "parameters, as Llama 3 has them": {"tokenizer_config.json": config(LLAMA, {})},
    "lists, as Mistral's converted checkpoints have them": {
        "tokenizer_config.json": config(
            MISTRAL,
            {
                2048 + i: added(spelling)
                for i, spelling in enumerate(
                    ("[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_CALLS]")
                )
            },
            legacy=False,
        )
    },
}
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "light_on",
            "description": "Switch a light on & <b>leave</b> it on.",
            "parameters": {
                "type": "object",
                "properties": {"room": {"type": "string", "enum": ["kitchen", "Küche ☃"]}},
                "required": ["room"],
            },
        },
    }
]
ASKED = {"role": "user", "content": "Is it dark in the kitchen?"}
CALL = {
    "id": "Ab3456789",
    "type": "function",
    "function": {"name": "light_on", "arguments": {"room": "Küche ☃", "level": 1.5}},
}
CHATS = [
    [ASKED],
    [
        ASKED,
        {"role": "assistant", "content": "", "tool_calls": [CALL]},
        {
            "role": "tool",
            "tool_call_id": "Ab3456789",
            "name": "light_on",
            "content": '{"is_on": true}',
        },
    ],
]
BEGUN = [
    [ASKED, {"role": "assistant", "content": text}] for text in ("It is", "A <b>kite", "☃.\n1")
]
# Forms in which a begun answer is what it is: others write words behind it, or leave it out.
CONTINUED = [name for name in ENTRIES if name.startswith(("ChatML", "an end", "special"))]


def main() -> None:
    goldens = {}
    for name, files in TOOL_ENTRIES.items():
        tokenizer = read(files)
        ids = [encode(tokenizer, chat, tools=TOOLS, add_generation_prompt=True) for chat in CHATS]
        goldens[name] = {"files": files, "vocab_size": 2056, "ids": ids}
    for name in CONTINUED:
        tokenizer = read(ENTRIES[name])
        ids = [encode(tokenizer, chat, continue_final_message=True) for chat in BEGUN]
        goldens[f"a begun answer: {name}"] = {
            "files": ENTRIES[name],
            "vocab_size": 2056,
            "begun": ids,
        }
    written = {"tools": TOOLS, "chats": CHATS, "begun": BEGUN, "checkpoints": goldens}
    GOLDENS.write_text(json.dumps(written, indent=1) + "\n")


def read(files: dict[str, Any]) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(MODEL, folder)
        (Path(folder) / "config.json").write_text('{"model_type": "mistral"}')
        for file_name, values in files.items():
            (Path(folder) / file_name).write_text(json.dumps(values))
        return AutoTokenizer.from_pretrained(folder)


def encode(tokenizer: Any, chat: list[dict[str, Any]], **said: Any) -> list[int]:
    text = tokenizer.apply_chat_template(chat, tokenize=False, **said)
    ids: list[int] = tokenizer.encode(text, add_special_tokens=False)
    return ids


if __name__ == "__main__":
    main()
