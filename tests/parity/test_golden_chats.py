"""Chats of finetunes against what transformers gives their models, by golden ids."""

import json
from pathlib import Path

import pytest

from pi_cluster.transformer.text.text_files import TextFiles

HERE = Path(__file__).parent
MODEL = HERE.parents[1] / "storyteller" / "checkpoint" / "tokenizer.model"
GOLDEN = json.loads((HERE / "golden_chats.json").read_text(encoding="utf-8"))
CHECKPOINTS = GOLDEN["checkpoints"]


@pytest.mark.parametrize("name", list(CHECKPOINTS))
def test_chats_of_finetunes_are_encoded_as_transformers_does(tmp_path, name):
    golden = CHECKPOINTS[name]
    paths = {"tokenizer.model": MODEL}
    for file_name, values in golden["files"].items():
        paths[file_name] = tmp_path / file_name
        paths[file_name].write_text(json.dumps(values), encoding="utf-8")
    template = TextFiles(paths, golden["vocab_size"], None).template
    assert [template.encode(chat) for chat in GOLDEN["chats"]] == golden["ids"]
