"""Chats with tools, and begun answers, against what transformers gives models, by golden ids."""

import json
from pathlib import Path

import pytest

from pi_cluster.coordinator.calling.turns import checked_turns
from pi_cluster.transformer.text.text_files import TextFiles

HERE = Path(__file__).parent
MODEL = HERE.parents[1] / "storyteller" / "checkpoint" / "tokenizer.model"
GOLDEN = json.loads((HERE / "golden_tool_chats.json").read_text(encoding="utf-8"))
CHECKPOINTS = GOLDEN["checkpoints"]


def template_of(folder, name):
    golden = CHECKPOINTS[name]
    paths = {"tokenizer.model": MODEL}
    for file_name, values in golden["files"].items():
        paths[file_name] = folder / file_name
        paths[file_name].write_text(json.dumps(values), encoding="utf-8")
    return TextFiles(paths, golden["vocab_size"], None).template


@pytest.mark.parametrize("name", [name for name in CHECKPOINTS if "ids" in CHECKPOINTS[name]])
def test_tools_calls_and_results_are_encoded_as_transformers_does(tmp_path, name):
    template = template_of(tmp_path, name)
    assert template.takes_tools
    chats = [checked_turns(chat) for chat in GOLDEN["chats"]]
    ours = [template.encode(chat, tools=GOLDEN["tools"]) for chat in chats]
    assert ours == CHECKPOINTS[name]["ids"]


@pytest.mark.parametrize("name", [name for name in CHECKPOINTS if "begun" in CHECKPOINTS[name]])
def test_a_begun_answer_is_gone_on_with_as_transformers_does(tmp_path, name):
    template = template_of(tmp_path, name)
    ours = [template.encode(chat, continues=True) for chat in GOLDEN["begun"]]
    assert ours == CHECKPOINTS[name]["begun"]
