"""What a tokenizer.json puts around a text, as its own library does."""

import json
from pathlib import Path

import pytest
import tokenizers

from pi_cluster.transformer.errors import ModelError
from pi_cluster.transformer.text.added_tokens import AddedToken
from pi_cluster.transformer.text.loading import load_bpe
from tests.support.small_tokenizers import PARITY

QWEN = json.loads((PARITY / "tokenizers" / "qwen-3.json").read_text(encoding="utf-8"))
IDS = {token["content"]: token["id"] for token in QWEN["added_tokens"]}
ADDED = [AddedToken(token_id, content) for content, token_id in IDS.items()]
BEGIN, END = "<|im_start|>", "<|endoftext|>"  # the latter as Qwen3-Embedding has it


def template(*pieces):
    names = [piece for piece in pieces if piece != "A"]
    special = {name: {"id": name, "ids": [IDS[name]], "tokens": [name]} for name in names}
    single = [
        {"Sequence": {"id": "A", "type_id": 0}}
        if piece == "A"
        else {"SpecialToken": {"id": piece, "type_id": 0}}
        for piece in pieces
    ]
    return {
        "type": "TemplateProcessing",
        "single": single,
        "pair": [*single, {"Sequence": {"id": "B", "type_id": 0}}],
        "special_tokens": special,
    }


ROBERTA = {
    "type": "RobertaProcessing",
    "sep": [END, IDS[END]],
    "cls": [BEGIN, IDS[BEGIN]],
    "trim_offsets": True,
    "add_prefix_space": False,
}


@pytest.mark.parametrize(
    "processor",
    [
        None,
        template("A"),
        template("A", END),
        template(BEGIN, "A", BEGIN, END),
        {"type": "Sequence", "processors": [template("A", END)]},
        ROBERTA,
    ],
)
def test_a_text_begins_and_ends_as_the_file_says(processor):
    values = QWEN | {"post_processor": processor}
    ours = load_bpe(Path("tokenizer.json"), values, ADDED, {"eos_token": "<|im_end|>"}, 2000)
    expected = tokenizers.Tokenizer.from_str(json.dumps(values)).encode("The brave fox").ids
    assert ours.opening_ids is not None
    assert [*ours.opening_ids, *ours.encode("The brave fox"), *ours.closing_ids] == expected


def test_an_end_that_the_vocabulary_lacks_is_named():
    values = QWEN | {"post_processor": ROBERTA | {"sep": ["<gone>", 1]}}
    with pytest.raises(ModelError, match="ends texts with '<gone>'"):
        load_bpe(Path("tokenizer.json"), values, ADDED, {}, 2000)
