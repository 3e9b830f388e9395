"""In which form a model calls: by the tokens and the chat template that it has."""

import pytest

from pi_cluster.coordinator.calling.finding import find_format
from pi_cluster.coordinator.calling.generic import Generic
from pi_cluster.coordinator.calling.hermes import Hermes
from pi_cluster.coordinator.calling.llama import Llama
from pi_cluster.coordinator.calling.mistral import MistralList
from pi_cluster.coordinator.calling.mistral_arguments import MistralArguments
from pi_cluster.transformer.text.added_tokens import AddedToken
from pi_cluster.transformer.text.chat_template import ChatTemplate
from pi_cluster.transformer.text.loading import load_sentencepiece
from tests.support.calling_models import mistral
from tests.support.small_tokenizers import STORYTELLER

HERMES = '{% if tools %}{{ tools }}{% endif %}<tool_call>\n{"name": ..., "arguments": ...}'
LLAMA = '{% if tools %}{{ tools }}{"name": ..., "parameters": ...}{% endif %}'
MISTRAL = "{% if tools %}[AVAILABLE_TOOLS]{{ tools }}{% endif %}[TOOL_CALLS]"


def storyteller(*spellings):
    added = [AddedToken(2_040 + number, one, False) for number, one in enumerate(spellings)]
    return load_sentencepiece(STORYTELLER, added, 2_059, legacy=False)


def found(tokenizer, source):
    return find_format(tokenizer, ChatTemplate(source, tokenizer))


@pytest.mark.parametrize(
    ("spellings", "source", "wanted", "openings"),
    [
        ((), HERMES, Hermes, ("<tool_call>",)),
        (("<tool_call>", "</tool_call>"), HERMES, Hermes, (2_040,)),
        (("<tool_call>",), HERMES + "<function=name>", Generic, ()),
        (("<|python_tag|>",), LLAMA, Llama, (2_040,)),
        ((), LLAMA, Llama, ()),
        (("[TOOL_CALLS]",), MISTRAL, MistralList, (2_040,)),
        (("[TOOL_CALLS]", "[ARGS]"), MISTRAL, MistralList, (2_040,)),
        (("[TOOL_CALLS]", "[ARGS]"), MISTRAL + "name[ARGS]", MistralArguments, (2_040,)),
        (("[TOOL_CALLS]",), "{{ messages }}", Generic, ()),
        ((), "{{ tools }}", Generic, ()),
    ],
)
def test_tokens_and_template_tell_the_form(spellings, source, wanted, openings):
    call_format = found(storyteller(*spellings), source)
    assert type(call_format) is wanted
    assert tuple(call_format.openings) == openings


@pytest.mark.parametrize(("version", "begins"), [("v3", '" ["'), ("v3-tekken", '"["')])
def test_mistrals_list_begins_as_its_tokenizer_would_spell_it(version, begins):
    tokenizer, _, opening = mistral(version)
    call_format = found(tokenizer, MISTRAL)
    assert call_format.openings == (opening,)
    assert call_format.calls(1).startswith(begins)


def test_a_model_without_a_template_has_no_form_of_its_own():
    assert type(find_format(storyteller(), None)) is Generic
