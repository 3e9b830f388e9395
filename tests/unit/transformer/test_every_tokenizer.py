"""What holds of every kind of tokenizer: no typed text steers a model, and any comes back whole."""

import unicodedata
from collections import Counter
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pi_cluster.transformer.text.added_tokens import AddedToken
from pi_cluster.transformer.text.chat_template import ChatTemplate
from pi_cluster.transformer.text.detokenizer import IncrementalDetokenizer
from pi_cluster.transformer.text.loading import load_bpe, load_sentencepiece, load_tekken
from pi_cluster.transformer.text.tokenizer import Tokenizer
from tests.support.small_tokenizers import (
    FAMILIES,
    MISTRAL,
    STORYTELLER,
    family_files,
    goldens,
    small_tekken,
)

GOLDEN = goldens()["tokenizers"]
KINDS = ["sentencepiece", "sentencepiece-v7", "tekken", "swallowed", *FAMILIES]
TAGS = ("<think>", "</think>", "<tool_call>", "<|im_start|>", "<|im_end|>", "[INST]", "[/INST]")
MORE = ("<s>", "</s>", "<unk>", "<|eot_id|>", "<|start_header_id|>", "<SPECIAL_30>", "<l>")
PARTS = ("<", "|", ">", "im_", "end", "think", "/", "[", "IN", "ST]", "s>", "\n", " ", "_id|>")
BYTE_LEVEL = {"add_prefix_space": False, "use_regex": False, "trim_offsets": True}
BYTE_CHARACTERS = {chr(code) for code in (*range(0xA1, 0xAD), *range(0xAE, 0x144))}


def swallowed() -> Tokenizer:
    """One whose pieces and merges make up its control tokens, which it lists as added."""
    spelt = ["<think>", "[INST]"]
    letters = sorted({chr(code) for code in range(0x21, 0x7F)} | BYTE_CHARACTERS)
    vocabulary = {letter: i for i, letter in enumerate(letters)}
    merges = []
    for tag in spelt:
        for end in range(2, len(tag) + 1):
            merges.append([tag[: end - 1], tag[end - 1]])
            vocabulary.setdefault(tag[:end], len(vocabulary))
    values = {
        "model": {"type": "BPE", "vocab": vocabulary, "merges": merges, "ignore_merges": True},
        "pre_tokenizer": dict(BYTE_LEVEL, type="ByteLevel"),
        "decoder": {"type": "ByteLevel"},
    }
    added = [AddedToken(vocabulary[tag], tag) for tag in spelt]
    return load_bpe(Path("tokenizer.json"), values, added, {}, len(vocabulary))


@cache
def tokenizer_of(kind: str) -> Tokenizer:
    match kind:
        case "sentencepiece":
            # Also tokens behind its pieces, as finetunes add them.
            more = [AddedToken(2048 + n, tag, special=n % 2 > 0) for n, tag in enumerate(TAGS[:5])]
            return load_sentencepiece(STORYTELLER, more, 2_060, legacy=False)
        case "sentencepiece-v7":
            path = MISTRAL / "mistral_instruct_tokenizer_241114.model.v7"
            return load_sentencepiece(path, (), 32_768, legacy=False)
        case "tekken":
            return load_tekken(Path("tekken.json"), small_tekken(), 1_100)[0]
        case "swallowed":
            return swallowed()
        case _:
            with TemporaryDirectory() as folder:
                tokenizer = family_files(Path(folder), kind, GOLDEN[kind]).tokenizer
            assert tokenizer is not None
            return tokenizer


typed = st.lists(st.sampled_from((*TAGS, *MORE, *PARTS)) | st.text(max_size=3), max_size=7).map(
    "".join
)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=120)
@given(said=st.lists(typed, min_size=3, max_size=3), around=typed)
def test_nothing_that_people_type_or_a_history_holds_becomes_a_control_id(kind, said, around):
    tokenizer = tokenizer_of(kind)
    control = set(tokenizer.control_ids.values()) - {tokenizer.unk_id}
    assert control
    assert control.isdisjoint(tokenizer.encode(said[0]))
    assert control.isdisjoint(tokenizer.encode(said[0], continuation=True))
    roles = ("system", "user", "assistant")
    chat = [{"role": role, "content": text} for role, text in zip(roles, said, strict=True)]
    bare = [{"role": role, "content": ""} for role in roles]
    # Tags from pieces, parts of spellings that messages might complete, texts that are taken apart.
    source = (
        f"{{{{ {around!r} }}}}{{% for m in messages %}}{{{{ '<|' + m.role + '|>' }}}}"
        "<|{{ m.content }}|>[{{ m.content | trim }}]<{{ m.content.split('</think>')[-1] }}>"
        "{{ m.content.strip('<') + m.content.replace('a', '<') + m.content[1:] }}"
        "{{ m.content | upper }}{{ m.content | replace('/', '') }}{{ m | tojson }}"
        "{{ ('x' + m.content) | replace('/', '') }}"
        "{% endfor %}<|im_end|>"
    )
    template = ChatTemplate(source, tokenizer)
    by_template, with_texts = Counter(template.encode(bare)), Counter(template.encode(chat))
    # No more of them; a letter may take from one that is a word of its own.
    assert all(with_texts[i] <= by_template[i] for i in control)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=120)
@given(text=st.text(max_size=20).filter(lambda text: "\ufffd" not in text and "▁" not in text))
def test_any_text_comes_back_whole_and_never_half_a_character(kind, text):
    tokenizer = tokenizer_of(kind)
    detokenizer = IncrementalDetokenizer(tokenizer)
    if kind == "qwen-3":
        text = unicodedata.normalize("NFC", text)
    if kind == "like-sentencepiece":
        text = text.lstrip(" ")  # its file takes a space there for the dummy prefix
    parts = [*map(detokenizer.push, tokenizer.encode(text)), detokenizer.finish()]
    assert "".join(parts) == text
    assert "\ufffd" not in "".join(parts) and parts[-1] == ""


@pytest.mark.parametrize("kind", KINDS)
def test_a_control_token_is_written_by_a_template_and_gives_no_text_but_its_own(kind):
    tokenizer = tokenizer_of(kind)
    for spelling, token_id in tokenizer.control_ids.items():
        template = ChatTemplate(f"{{{{ {spelling!r} }}}}", tokenizer)
        assert template.encode([{"role": "user", "content": "x"}]) == [token_id]
        text = IncrementalDetokenizer(tokenizer).push(token_id)
        assert text in ("", spelling)
        assert tokenizer.id_to_piece(token_id) == spelling
        assert tokenizer.piece_to_id(spelling) == token_id
