"""Two models mean the same by their ids, or where they first differ."""

import json

import pytest

from pi_cluster.transformer.text.same_tokens import TokenDifference, first_difference
from pi_cluster.transformer.text.text_files import TextFiles
from tests.support.small_tokenizers import FAMILIES, STORYTELLER, family_files, goldens

GOLDENS = goldens()["tokenizers"]
STORIES = TextFiles({"tokenizer.model": STORYTELLER}, 2048, None).tokenizer


def family(folder, name):
    return family_files(folder, name, GOLDENS[name]), GOLDENS[name]["vocab_size"]


def changed(folder, name, change):
    """The tokenizer of a family with another ``tokenizer.json``."""
    files, size = family(folder, name)
    values = json.loads(files._paths["tokenizer.json"].read_text("utf-8"))
    change(values)
    path = folder / "tokenizer.json"
    path.write_text(json.dumps(values), "utf-8")
    return TextFiles(files._paths | {"tokenizer.json": path}, size + 1, None).tokenizer, size + 1


@pytest.mark.parametrize("name", FAMILIES)
def test_a_model_means_what_it_means_whatever_its_head_is_padded_to(tmp_path, name):
    files, size = family(tmp_path, name)
    assert first_difference(files.tokenizer, size + 64, files.tokenizer, size) is None
    assert first_difference(files.tokenizer, size, files.tokenizer, size + 64) is None


def test_it_does_not_matter_whether_a_configuration_names_the_special_tokens():
    names = ("tokenizer.model", "tokenizer_config.json")
    with_flags = TextFiles({name: STORYTELLER.with_name(name) for name in names}, 2048, None)
    assert with_flags.tokenizer.added_text(0) is not None
    assert STORIES.added_text(0) is None
    assert first_difference(with_flags.tokenizer, 2048, STORIES, 2048) is None
    assert first_difference(STORIES, 2048, with_flags.tokenizer, 2048) is None


def test_the_first_piece_that_differs_is_told(tmp_path):
    files, size = family(tmp_path, "qwen-3")
    other = first_difference(files.tokenizer, size, STORIES, STORIES.vocab_size)
    assert other.token_id == 0
    assert other.first != other.second


def test_an_added_token_of_another_spelling_differs(tmp_path):
    files, size = family(tmp_path, "qwen-3")
    last = max(files.tokenizer.tokens.values(), key=lambda token: token.id)

    def respelt(values):
        for token in values["added_tokens"]:
            if token["id"] == last.id:
                token["content"] = "<|another|>"

    folder = tmp_path / "other"
    folder.mkdir()
    other, other_size = changed(folder, "qwen-3", respelt)
    found = first_difference(files.tokenizer, size, other, other_size)
    assert found == TokenDifference(last.id, last.content.encode(), b"<|another|>")


def test_what_the_second_has_beyond_does_not_count_and_what_it_lacks_does(tmp_path):
    files, size = family(tmp_path, "qwen-3")

    def longer(values):
        values["added_tokens"].append(
            values["added_tokens"][-1] | {"id": size, "content": "<|more|>"}
        )

    folder = tmp_path / "other"
    folder.mkdir()
    other, other_size = changed(folder, "qwen-3", longer)
    assert first_difference(files.tokenizer, size, other, other_size) is None
    found = first_difference(other, other_size, files.tokenizer, size)
    assert found == TokenDifference(size, b"<|more|>", None)
