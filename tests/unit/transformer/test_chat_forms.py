"""Chats that strict templates refuse as they were sent."""

import pytest

from pi_cluster.transformer.errors import PromptError
from pi_cluster.transformer.text.chat_template import ChatTemplate
from pi_cluster.transformer.text.loading import load_sentencepiece
from tests.support.small_tokenizers import STORYTELLER

ALTERNATING = (
    "{{ bos_token }}{% for m in messages %}"
    "{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}"
    "{% if m.role == 'user' %}Q {{ m.content }}{% elif m.role == 'assistant' %} A {{ m.content }}"
    "{% else %}{{ raise_exception('no role ' + m.role) }}{% endif %}{% endfor %}"
)


def chat(*turns):
    return [{"role": role, "content": content} for role, content in turns]


@pytest.fixture(scope="module")
def template():
    return ChatTemplate(ALTERNATING, load_sentencepiece(STORYTELLER, (), 2_059, legacy=False))


@pytest.mark.parametrize(
    ("sent", "taken"),
    [
        (chat(("user", "a"), ("user", "b")), chat(("user", "a\n\nb"))),
        (chat(("system", "s"), ("user", "a")), chat(("user", "s\n\na"))),
        (
            chat(("system", "s"), ("system", "t"), ("user", "a"), ("assistant", "b"), ("user", "")),
            chat(("user", "s\n\nt\n\na"), ("assistant", "b"), ("user", "")),
        ),
        (
            chat(("user", "a"), ("system", "s"), ("user", "b")),
            chat(("user", "a\n\ns\n\nb")),
        ),
        (chat(("user", "a"), ("system", "s")), chat(("user", "a\n\ns"))),
    ],
)
def test_a_refused_chat_is_taken_with_neighbours_merged_and_the_system_folded(
    template, sent, taken
):
    assert template.encode(sent) == template.encode(taken)


def test_what_no_form_helps_is_refused_in_the_words_for_what_was_sent(template):
    with pytest.raises(PromptError, match="roles must alternate"):
        template.encode(chat(("assistant", "b"), ("user", "a")))
    with pytest.raises(PromptError, match="no role tool"):
        template.encode(chat(("user", "a"), ("tool", "b")))
    with pytest.raises(PromptError, match="roles must alternate"):
        template.encode(chat(("system", "nobody asks anything")))


def test_a_chat_that_is_taken_is_not_changed():
    kind = load_sentencepiece(STORYTELLER, (), 2_059, legacy=False)
    lenient = ChatTemplate("{% for m in messages %}[{{ m.content }}]{% endfor %}", kind)
    assert lenient.encode(chat(("user", "a"), ("user", "b"))) == kind.encode("[a][b]")
