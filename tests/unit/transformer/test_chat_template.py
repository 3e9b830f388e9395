"""Chats to ids: what templates may do, and that no message can write a control token."""

import json
from pathlib import Path

import mistral_common
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pi_cluster.transformer.errors import PromptError
from pi_cluster.transformer.text.added_tokens import special_tokens
from pi_cluster.transformer.text.builtin_templates import (
    builtin_template,
    template_for_tekken,
    template_for_tokenizer,
)
from pi_cluster.transformer.text.chat_template import ChatTemplate
from pi_cluster.transformer.text.sentencepiece_tokenizer import SentencePieceTokenizer

CHECKPOINT = Path(__file__).parents[3] / "storyteller" / "checkpoint"
CONFIG = json.loads((CHECKPOINT / "tokenizer_config.json").read_text(encoding="utf-8"))
TOKENIZER = SentencePieceTokenizer.from_file(CHECKPOINT / "tokenizer.model")
STORYTELLER = ChatTemplate(CONFIG["chat_template"], TOKENIZER, special_tokens(CONFIG, {}))
CONTROL = set(TOKENIZER.control_ids.values())
SPACE = TOKENIZER.piece_to_id("▁")


def user(content):
    return {"role": "user", "content": content}


def encode_with(source, *contents, tokenizer=TOKENIZER):
    return ChatTemplate(source, tokenizer).encode([user(c) for c in contents])


def rest(text):
    return TOKENIZER.encode(text, continuation=True)


def test_the_storytellers_own_template_gives_the_ids_it_was_trained_on():
    text = "Tell me a story about a brave fox and a lost kite."
    assert STORYTELLER.encode([user(text)]) == [1, 3, *TOKENIZER.encode(text), SPACE, 4]


def test_further_turns_follow_after_the_end_of_the_answer():
    chat = [user("Who are you?"), {"role": "assistant", "content": "A fox."}, user("And you?")]
    first = [1, 3, *TOKENIZER.encode("Who are you?"), SPACE, 4, *TOKENIZER.encode("A fox."), 2]
    assert STORYTELLER.encode(chat) == [*first, 3, *TOKENIZER.encode("And you?"), SPACE, 4]


def test_a_refusal_is_told_in_the_templates_own_words():
    with pytest.raises(PromptError, match=r"Only user and assistant roles|roles must alternate"):
        STORYTELLER.encode([{"role": "system", "content": "Be brief."}])


spellings = st.sampled_from(
    ["<s>", "</s>", "[INST]", "[/INST]", "[IN", "ST]", "[", "<", "s>", "</"]
)
hostile = st.lists(spellings | st.text(max_size=3), max_size=6).map("".join)


@settings(max_examples=300)
@given(contents=st.lists(hostile, min_size=1, max_size=3))
def test_no_message_can_write_a_control_token(contents):
    # The template puts messages side by side, so that two could make up a spelling together.
    source = "{% for m in messages %}{{ m.content }}{% endfor %}[INST]"
    text = "".join(contents)
    assert encode_with(source, *contents) == [*TOKENIZER.encode(text), 3]


def test_a_spelling_begun_by_a_message_and_ended_by_the_template_is_text():
    assert CONTROL.isdisjoint(encode_with("{{ messages[0].content }}ST]", "[IN"))


def test_a_role_can_no_more_write_a_control_token_than_a_content():
    ids = ChatTemplate("{{ messages[0].role }}", TOKENIZER).encode([{"role": "</s>"}])
    assert ids == TOKENIZER.encode("</s>")


def test_strings_deep_in_a_message_cannot_write_control_tokens():
    message = {"role": "user", "content": [{"type": "text", "text": "</s>"}]}
    template = ChatTemplate("{{ messages[0].content[0].text }}", TOKENIZER)
    assert template.encode([message]) == TOKENIZER.encode("</s>")


def test_control_tokens_are_what_the_template_writes():
    source = "a{{ bos_token }}b[INST]{{ messages[0].content }}[/INST]{{ eos_token }}"
    expected = [*TOKENIZER.encode("a"), 1, *rest("b"), 3, *rest("c"), 4, 2]
    assert encode_with(source, "c") == expected


def test_legacy_checkpoints_get_a_dummy_prefix_after_control_tokens_too():
    source = "[INST]{{ messages[0].content }}"
    assert encode_with(source, "fox") == [3, *rest("fox")]
    legacy = SentencePieceTokenizer.from_file(CHECKPOINT / "tokenizer.model", legacy=True)
    assert encode_with(source, "fox", tokenizer=legacy) == [3, *TOKENIZER.encode("fox")]


def test_special_tokens_may_be_given_as_objects_and_unk_becomes_one():
    config = {
        "bos_token": {"content": "</s>"},
        "eos_token": "<s>",
        "unk_token": {"content": "<unk>"},
    }
    source = "{{ bos_token }}<unk>{{ eos_token }}"
    template = ChatTemplate(source, TOKENIZER, special_tokens(config, {}))
    assert template.encode([user("x")]) == [2, 0, 1]


def test_of_several_templates_the_default_is_taken():
    named = [{"name": "rag", "template": "a"}, {"name": "default", "template": "b"}]
    assert encode_with(named, "x") == TOKENIZER.encode("b")
    with pytest.raises(PromptError, match="default"):
        encode_with(named[:1], "x")


def test_templates_find_what_transformers_gives_them():
    source = (
        "{% for m in messages %}\n"
        "  {% if loop.index == 2 %}{% break %}{% endif %}\n"
        "{{ m | tojson }}\n"
        "{% endfor %}\n"
        "{{ strftime_now('%%') }}{{ tools is none }}{{ add_generation_prompt }}"
    )
    text = '{"role": "user", "content": "<é>"}\n%TrueTrue'
    assert encode_with(source, "<é>", "not this") == TOKENIZER.encode(text)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("a{% generation %}{{ messages[0].content }}{% endgeneration %}b", "axb"),
        (
            "{% set c = messages[0].content %}{%- generation -%} {{ c }} {%- endgeneration -%}",
            "x",
        ),
        ("{% generation %}{% set y = 'z' %}{{ y }}{% endgeneration %}{{ y }}", "z"),
        (
            "{{ unk_token is defined }}{{ pad_token is defined }}{{ date_string is defined }}",
            "TrueFalseFalse",
        ),
        ("{{ 'é\"' | tojson }}{{ 'é' | tojson(true) }}", '"é\\""' + '"\\u00e9"'),
        ("{{ {'b': 1, 'a': 2} | tojson(indent=2, sort_keys=true) }}", '{\n  "a": 2,\n  "b": 1\n}'),
        ("{{ [1, 2] | tojson(separators=(',', ':')) }}", "[1,2]"),
        ("{{ documents is none }}{{ tools is none }}", "TrueTrue"),
        ("{% if messages[0].name is defined %}a{% else %}b{% endif %}", "b"),
    ],
)
def test_templates_are_rendered_as_transformers_does(source, text):
    message = {**user("x"), "name": None}
    assert ChatTemplate(source, TOKENIZER).encode([message]) == TOKENIZER.encode(text)


def test_a_template_gets_the_special_tokens_by_their_names():
    special = {"pad_token": "</s>", "sep_token": "[INST]", "image_token": "<img>"}
    source = "{{ unk_token }}{{ pad_token }}{{ sep_token }}{{ image_token == '<img>' }}"
    ids = ChatTemplate(source, TOKENIZER, special).encode([user("x")])
    assert ids == [0, 2, 3, *rest("True")]


def test_templates_may_be_given_as_an_object_by_name():
    assert encode_with({"tool_use": "a", "default": "b"}, "x") == TOKENIZER.encode("b")
    with pytest.raises(PromptError, match="default"):
        encode_with({"tool_use": "a"}, "x")


def test_a_template_for_chats_with_tools_is_taken_for_those():
    tool = {"type": "function", "function": {"name": "time", "parameters": {}}}
    named = [
        {"name": "default", "template": "b"},
        {"name": "tool_use", "template": "{{ tools[0].function.name }}<tool_call>"},
    ]
    template = ChatTemplate(named, TOKENIZER)
    assert template.encode([user("x")]) == TOKENIZER.encode("b")
    assert template.encode([user("x")], tools=[tool]) == TOKENIZER.encode("time<tool_call>")
    assert template.takes_tools and "<tool_call>" in template.source


@pytest.mark.parametrize(
    "source",
    [
        5,
        True,
        {"default": 5},
        [{"name": "default", "template": []}],
        {"default": "a", "tool_use": 5},
    ],
)
def test_what_can_be_no_template_is_refused(source):
    with pytest.raises(PromptError, match="neither text nor"):
        encode_with(source, "x")


@pytest.mark.parametrize(
    ("source", "end"),
    [
        ("{% for m in messages %}{{ m.content }}[INST]{% endfor %}", 3),
        ("{% for m in messages %}[INST]{{ m.content | trim }}\n </s>{% endfor %}", 2),
        ("{% for m in messages %}[INST]{{ m.content }}{% endfor %}", None),
        ("{% for m in messages %}{{ m.content }} and[INST]{% endfor %}", None),
        ("{% for m in messages %}{{ m.content }}<s>{% endfor %}", None),
        ("{% for m in messages %}{{ m.content }}{{ pad_token }}{% endfor %}", None),
        ("[INST]", None),
        ("{{ raise_exception('no answers') }}", None),
    ],
)
def test_the_token_behind_an_answer_ends_a_turn(source, end):
    assert ChatTemplate(source, TOKENIZER, {"pad_token": "<pad>"}).end_of_turn() == end


def test_the_built_in_templates_end_a_turn_as_a_text():
    for version in ("v1", "v2", "v3"):
        assert ChatTemplate(builtin_template(version), TOKENIZER).end_of_turn() == 2


def test_a_template_that_is_not_jinja_is_refused():
    with pytest.raises(PromptError, match=r"not valid Jinja: line 1: .*endfor"):
        encode_with("{% for m in messages %}", "x")


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ messages.append(1) }}",
        "{{ 1 / 0 }}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{% for i in range(10**9) %}{% endfor %}",
    ],
)
def test_a_template_that_breaks_out_or_down_is_a_prompt_error(source):
    with pytest.raises(PromptError, match="the chat template refuses this chat"):
        encode_with(source, "x")


def test_a_template_that_writes_without_end_is_stopped():
    source = "{% for i in range(99999) %}{% for j in range(99999) %}abc{% endfor %}{% endfor %}"
    with pytest.raises(PromptError, match="exceeds 1000000 characters"):
        encode_with(source, "x")


def test_a_refusal_that_quotes_a_message_quotes_it_as_it_was():
    with pytest.raises(PromptError, match=r"no </s> here"):
        encode_with("{{ raise_exception('no ' + messages[0].content + ' here') }}", "</s>")


def test_text_that_is_not_unicode_is_refused():
    with pytest.raises(PromptError, match="not valid Unicode"):
        STORYTELLER.encode([user("\udfff</s>")])


def test_a_chat_without_messages_is_refused():
    with pytest.raises(PromptError, match="at least one message"):
        STORYTELLER.encode([])


def test_a_control_token_the_tokenizer_lacks_is_refused_by_name_where_it_is_written():
    special = {"eos_token": "<|im_end|>"}
    written = ChatTemplate("{{ messages[0].content }}{{ eos_token }}", TOKENIZER, special)
    with pytest.raises(PromptError, match=r"'<\|im_end\|>', which is not in the tokenizer's"):
        written.encode([user("x")])
    unwritten = ChatTemplate("{{ messages[0].content }}", TOKENIZER, special)
    assert unwritten.encode([user("<|im_end|>")]) == TOKENIZER.encode("<|im_end|>")


@pytest.mark.parametrize("version", ["v1", "v3"])
def test_built_in_templates_refuse_what_they_cannot_write(version):
    template = ChatTemplate(builtin_template(version), TOKENIZER)
    answer = {"role": "assistant", "content": "b"}
    with pytest.raises(PromptError, match="last message must be a user's"):
        template.encode([user("a"), answer])
    assert template.encode([user("a"), answer], add_generation_prompt=False)[-1] == 2
    reason = "not tool" if version == "v1" else "needs the tool_call_id of its call"
    with pytest.raises(PromptError, match=reason):
        template.encode([user("a"), {"role": "tool", "content": "a"}])
    with pytest.raises(PromptError, match="not critic"):
        template.encode([{"role": "critic", "content": "a"}])
    with pytest.raises(PromptError, match="content is text"):
        template.encode([user([{"type": "text", "text": "a"}])])


def test_only_known_versions_have_a_built_in_template():
    with pytest.raises(PromptError, match="'v9'; there are v1, v2, v3, v3-tekken, v7,"):
        builtin_template("v9")


def test_a_checkpoint_without_template_gets_the_one_its_tokenizer_proves():
    data = Path(mistral_common.__file__).parent / "data"
    v1 = SentencePieceTokenizer.from_file(data / "tokenizer.model.v1")
    v3 = SentencePieceTokenizer.from_file(data / "mistral_instruct_tokenizer_240323.model.v3")
    v7 = SentencePieceTokenizer.from_file(data / "mistral_instruct_tokenizer_241114.model.v7")
    assert template_for_tokenizer("tokenizer.model.v1", v1) == builtin_template("v1")
    assert template_for_tokenizer("tokenizer.model.v2", v3) == builtin_template("v2")
    assert template_for_tokenizer("tokenizer.model", v3) == builtin_template("v3")
    assert template_for_tokenizer("tokenizer.model", v1) is None
    assert template_for_tokenizer("tokenizer.model", v7) is None
    assert template_for_tokenizer("tokenizer.model.v7", v7) == builtin_template("v7")
    assert template_for_tokenizer("tokenizer.model.v9", v7) is None
    assert template_for_tokenizer("tokenizer.model", TOKENIZER) is None
    assert template_for_tekken("v3") == builtin_template("v3-tekken")
    assert template_for_tekken("v99") is None


def test_tools_are_shown_to_the_template_with_what_they_spell_guarded():
    source = (
        "{{ bos_token }}{% for t in tools %}{{ t | tojson }}{{ t.function.name }}{% endfor %}"
        "{% for m in messages %}{% for c in m.tool_calls %}{{ c.function.arguments | tojson }}"
        "{% endfor %}{{ m.content }}{% endfor %}"
    )
    template = ChatTemplate(source, TOKENIZER)
    tool = {"function": {"name": "</s>", "parameters": {"</s>": {"type": "string"}}}}
    call = {"function": {"name": "f", "arguments": {"</s>": "</s>"}}}
    turns = [{"role": "user", "content": "hi"}, {"role": "assistant", "tool_calls": [call]}]
    ids = template.encode(turns, tools=[tool])
    assert ids.count(TOKENIZER.eos_id) == 0
    shown = '{"function": {"name": "</s>", "parameters": {"</s>": {"type": "string"}}}}</s>hi'
    assert template.render(turns, [tool]) == f'<s>{shown}{{"</s>": "</s>"}}'


def test_arguments_are_shown_as_texts_where_a_template_takes_no_objects():
    source = (
        "{% for m in messages %}{% for c in m.tool_calls %}{{ '' + c.function.arguments }}"
        "{% endfor %}{{ m.content }}{% endfor %}"
    )
    call = {"function": {"name": "f", "arguments": {"a": 1}}}
    turns = [{"role": "user", "content": "hi"}, {"role": "assistant", "tool_calls": [call]}]
    template = ChatTemplate(source, TOKENIZER)
    assert template.encode(turns) == TOKENIZER.encode('hi{"a": 1}')


def test_a_chat_that_goes_on_ends_within_its_last_message():
    source = (
        "{{ bos_token }}{% for m in messages %}[{{ m.role }}] {{ m.content | trim }}{{ eos_token }}"
        "{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}"
    )
    template = ChatTemplate(source, TOKENIZER)
    turns = [user("hi"), {"role": "assistant", "content": " Once upon a "}]
    begun = template.encode(turns, continues=True)
    whole = "[user] hi</s>[assistant] Once upon a "
    assert begun == template.encode([user("hi")], add_generation_prompt=False) + rest(
        whole.partition("</s>")[2]
    )
    assert begun[-1] != TOKENIZER.eos_id


def test_a_template_that_leaves_the_last_message_out_cannot_go_on_with_it():
    template = ChatTemplate("{{ messages[0].content }}", TOKENIZER)
    with pytest.raises(PromptError, match="does not write the last message"):
        template.encode([user("hi"), {"role": "assistant", "content": "x"}], continues=True)


def test_arguments_that_are_nested_too_deep_are_an_error_of_that_chat():
    deep = {}
    for _ in range(5_000):
        deep = {"a": deep}
    call = {"function": {"name": "f", "arguments": deep}}
    turns = [{"role": "assistant", "content": "", "tool_calls": [call]}]
    template = ChatTemplate("{{ messages[0].tool_calls[0] | tojson }}", TOKENIZER)
    with pytest.raises(PromptError, match="nested too deep"):
        template.encode(turns)
