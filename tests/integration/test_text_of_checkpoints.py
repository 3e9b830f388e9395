"""What a checkpoint's text files say is tried by `shard` and done by `prompt`."""

import json
import re
import shutil
from itertools import pairwise
from pathlib import Path

import pytest

from pi_cluster.cluster.errors import CheckpointError
from tests.support.checkpoints import small_config, write_hugging_face_checkpoint
from tests.support.stores import shard
from tests.support.talking_models import talking_weights

STORYTELLER = Path(__file__).parents[2] / "storyteller" / "checkpoint"
CONFIG = small_config(vocab_size=2052)
START, END, THINK = 2048, 2049, 2050
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
FLAGS = {"special": False, "lstrip": False, "rstrip": False, "single_word": False}
ADDED = {START: "<|im_start|>", END: "<|im_end|>", THINK: "<think>"}
DECODER = {str(i): {"content": content, **FLAGS} for i, content in ADDED.items()}
BYTE_LEVEL = {"type": "ByteLevel"}
LFS_POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"


def write(folder, *, model=True, **files):
    """A checkpoint with the storyteller's tokenizer; ``files`` are contents by their names.

    A dot in a name is written ``__``, and ``.json`` left out.
    """
    write_hugging_face_checkpoint(folder, CONFIG)
    if model:
        shutil.copy(STORYTELLER / "tokenizer.model", folder)
    for name, content in files.items():
        path = folder / name.replace("__", ".")
        path = path if path.suffix else path.with_suffix(".json")
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    return folder


def notes_of(folder):
    """What `shard` tells of the checkpoint, and its ids that end an answer."""
    told = []
    manifest = shard(folder, folder.with_name("store"), on_note=told.append)
    return "\n".join(told), manifest.eos_ids


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("tokenizer__model", LFS_POINTER, r"tokenizer\.model is only a Git LFS pointer"),
        ("tokenizer__model", "IQ== 0\nIg== 1\n", r"tokenizer\.model: this is no SentencePiece"),
        ("tokenizer__model", "", r"tokenizer\.model: .* empty"),
        ("tokenizer_config", LFS_POINTER, r"tokenizer_config\.json is only a Git LFS pointer"),
        ("tokenizer_config", "{", r"tokenizer_config\.json is not JSON .*fetch it again"),
        ("tokenizer_config", {"added_tokens_decoder": {"x": {}}}, r"tokenizer_config\.json: .*'x'"),
        ("added_tokens", "[]", r"added_tokens\.json holds no JSON object"),
        ("added_tokens", LFS_POINTER, r"added_tokens\.json is only a Git LFS pointer"),
        ("special_tokens_map", LFS_POINTER, r"special_tokens_map\.json is only a Git LFS"),
        ("tokenizer", "{", r"tokenizer\.json is not JSON"),
        ("chat_template__jinja", LFS_POINTER, r"chat_template\.jinja is only a Git LFS pointer"),
        ("generation_config", LFS_POINTER, r"generation_config\.json is only a Git LFS pointer"),
        ("generation_config", {"eos_token_id": 2052}, r"generation_config\.json is 2052"),
        ("generation_config", {"bos_token_id": "1"}, r"bos_token_id .*generation_config\.json"),
    ],
)
def test_a_file_that_prompt_could_not_read_ends_shard_and_nothing_is_written(
    tmp_path, name, content, said
):
    folder = write(tmp_path / "checkpoint", **{name: content})
    with pytest.raises(CheckpointError, match=said) as failure:
        notes_of(folder)
    assert str(folder) in str(failure.value)
    assert not (tmp_path / "store").exists()


def test_a_tokenizer_larger_than_the_model_is_refused_with_both_sizes(tmp_path):
    write_hugging_face_checkpoint(tmp_path / "c", small_config(vocab_size=2000))
    shutil.copy(STORYTELLER / "tokenizer.model", tmp_path / "c")
    with pytest.raises(CheckpointError, match=r"c/tokenizer\.model has 2048 .* only 2000"):
        shard(tmp_path / "c", tmp_path / "s")


NO_BYTES = {"model": {"type": "BPE", "vocab": {"<s>": 1}, "merges": []}, "decoder": BYTE_LEVEL}


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "has no tokenizer.model, tekken.json or tokenizer.json"),
        ({"tokenizer": NO_BYTES}, "tokenizer.json has pieces neither for all bytes nor for what"),
        ({"tokenizer": {"model": {"type": "Unigram"}}}, "'Unigram'; of such files only BPE"),
        ({"tokenizer": NO_BYTES | {"decoder": None}}, "by a decoder (none) that is not read"),
    ],
)
def test_without_a_tokenizer_that_is_read_shard_says_what_works(tmp_path, files, said):
    told, _ = notes_of(write(tmp_path / "checkpoint", model=False, **files))
    assert said in told and "`prompt --ids` works, text does not" in told
    assert not (tmp_path / "store" / "tokenizer.json").exists()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("tokenizer", "{", "tokenizer.json is not JSON"),
        ("tokenizer", LFS_POINTER, "only a Git LFS pointer"),
        ("tokenizer", {"model": {"type": "BPE", "merges": []}}, "tokenizer.json has no vocabulary"),
        ("tekken__json", {}, "tekken.json has no config"),
        ("tekken__json", "[1]", "tekken.json holds no JSON object"),
    ],
)
def test_a_torn_tokenizer_of_another_kind_ends_shard_and_nothing_is_written(
    tmp_path, name, content, said
):
    folder = write(tmp_path / "checkpoint", model=False, **{name: content})
    with pytest.raises(CheckpointError, match=re.escape(said)):
        notes_of(folder)
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{% for m in messages %}", "not valid Jinja: line 1"),
        ("{{ messages[0].content.nothing() }}", "refuses this chat: 'str object' has no"),
        ("{{ raise_exception('Tools only.') }}", "refuses this chat: Tools only."),
        ({"tool_use": "x"}, "none of the chat templates is named 'default'"),
        (5, "neither text nor"),
        ("{{ pad_token }}", "writes '<pad>', which is not"),
    ],
)
def test_a_fault_of_the_template_is_a_note_that_says_what_works(tmp_path, template, said):
    config = {"chat_template": template, "pad_token": "<pad>"}
    told, _ = notes_of(write(tmp_path / "checkpoint", tokenizer_config=config))
    assert f"chat_template of {tmp_path}/checkpoint/tokenizer_config.json: " in told
    assert said in told and "`prompt --raw` and `--ids` will" in told


def test_a_template_that_refuses_a_system_message_alone_is_no_fault(tmp_path):
    source = (
        "{% if messages[0].role == 'system' %}{{ raise_exception('No system.') }}{% endif %}"
        "{% for m in messages %}{{ m.content + eos_token }}{% endfor %}"
    )
    folder = write(tmp_path / "checkpoint", chat_template__jinja=source)
    assert notes_of(folder) == ("", (2,))


def test_the_default_of_further_templates_is_found(tmp_path):
    folder = write(tmp_path / "checkpoint")
    (folder / "additional_chat_templates").mkdir()
    (folder / "additional_chat_templates" / "default.jinja").write_text("[INST]")
    notes_of(folder)
    assert (tmp_path / "store" / "chat_template.jinja").read_text() == "[INST]"


@pytest.mark.parametrize(
    ("config", "eos_ids", "said"),
    [
        ({"eos_token": "</s>", "chat_template": "x"}, (2,), ""),
        ({"eos_token": "<|im_end|>"}, (2, END), "calls it the eos_token"),
        ({"eos_token": "</s>", "chat_template": CHATML}, (2, END), "ends a turn with it"),
        ({"eos_token": "<nowhere>"}, (2,), ""),
        ({"eos_token": "fox"}, (2,), ""),
    ],
)
def test_an_answer_ends_where_the_text_files_say_so_too(tmp_path, config, eos_ids, said):
    config["added_tokens_decoder"] = DECODER
    told, found = notes_of(write(tmp_path / "checkpoint", tokenizer_config=config))
    assert found == eos_ids
    assert said in told and bool(said) == ("'<|im_end|>' (id 2049)" in told)


def test_added_tokens_that_the_model_lacks_are_named_and_left_out(tmp_path):
    added = {"[PAD]": 2052, "<x>": 2051}
    told, _ = notes_of(write(tmp_path / "checkpoint", added_tokens=added))
    assert told == "added tokens beyond the model's 2052 ids are left out: '[PAD]'"


def test_a_tokenizer_model_of_another_model_is_noticed_beside_a_tokenizer_json(tmp_path):
    vocabulary = {"model": {"vocab": {"<s>": 1, "▁somethingelse": 1000}}}
    told, _ = notes_of(write(tmp_path / "checkpoint", tokenizer=vocabulary))
    assert "differ, at the id 1000" in told and "tokenizer.model is taken" in told


@pytest.fixture(scope="module")
def finetune(make_cluster):
    """A ChatML finetune whose tags lie in added_tokens.json, and whose eos was left at </s>.

    It says `` fox<think> fox`` behind a line break, ends its turn, and would go on with the next.
    """
    with make_cluster() as cluster:
        folder = cluster.folder / "checkpoint"
        line, fox, the = 15, 1012, 1953
        files = {
            "added_tokens": {content: i for i, content in ADDED.items()},
            "tokenizer_config": {"chat_template": CHATML, "eos_token": "</s>"},
        }
        write(folder, **files)
        weights = talking_weights(CONFIG, pairwise((line, fox, THINK, the, END, START, line)))
        write_hugging_face_checkpoint(folder, CONFIG, weights=weights, dtype="float32")
        made = cluster.run("shard", str(folder), "--out", str(cluster.folder / "store"))
        assert made.code == 0 and "note: an answer ends at '<|im_end|>' (id 2049) too" in made.err
        cluster.up(str(cluster.folder / "store"), "--local", "2")
        yield cluster


def test_a_finetune_chats_in_its_added_tokens_and_ends_its_turn(finetune):
    answered = finetune.prompt("Hello fox", "--temperature", "0")
    assert answered["prompt_ids"] == [
        *(START, 1018, 275, 15, 1078, 1012, END, 1953, 15),
        *(START, 336, 1962, 296, 1956, 505, 15),
    ]
    assert (answered["text"], answered["finish_reason"]) == ("fox<think> ", "eos")


def test_a_tag_that_is_typed_is_text_in_a_chat_and_in_a_raw_prompt(finetune):
    typed = "<|im_end|><think>\n"
    for words in (("--raw",), ()):
        answered = finetune.prompt(typed, *words, "--max-tokens", "1")
        assert answered["prompt_ids"].count(THINK) == 0
        assert answered["prompt_ids"].count(END) == (0 if words else 1)


def spoil(cluster, name, content):
    """Change a text file of what is up, as an older `shard` would have copied it unread."""
    path = next(cluster.folder.glob(f"state/pi-cluster/*/{name}"))
    before = path.read_bytes()
    path.write_text(content)
    return lambda: path.write_bytes(before)


def test_a_fault_of_the_template_leaves_raw_and_ids_alone(finetune):
    mend = spoil(finetune, "tokenizer_config.json", '{"chat_template": "{% for %}"}')
    try:
        outcome = finetune.run("prompt", "Hello")
        assert (outcome.code, outcome.out) == (1, "")
        assert "not valid Jinja" in outcome.err and "--raw" in outcome.err
        assert finetune.run("chat", stdin=b"Hello\n").code == 1
        assert finetune.prompt("Hello", "--raw", "--max-tokens", "1", "--seed", "5")["ids"]
        assert finetune.prompt("--ids", "1,15", "--max-tokens", "1")["text"] == " fox"
    finally:
        mend()


def test_a_fault_of_the_tokenizer_leaves_ids_alone(finetune):
    mend = spoil(finetune, "tokenizer.model", LFS_POINTER)
    try:
        for words in (("Hello",), ("Hello", "--raw"), ("--ids", "1,15", "--stop", "x")):
            outcome = finetune.run("prompt", *words)
            assert (outcome.code, outcome.out) == (1, "")
            assert "git lfs pull" in outcome.err and "--ids" in outcome.err
        outcome = finetune.run("prompt", "--ids", "1,15", "--max-tokens", "1")
        assert (outcome.code, outcome.out) == (0, "1012\n")
        assert "note: " in outcome.err and "the answer comes as ids" in outcome.err
    finally:
        mend()
