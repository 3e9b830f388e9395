"""An answer in a form, behind a thought where the model has one."""

from functools import cache

import pytest

from pi_cluster.coordinator.asking.structured import json_constraint
from pi_cluster.coordinator.constraining.building import build_vocabulary
from pi_cluster.transformer.errors import PromptError
from pi_cluster.transformer.text.added_tokens import AddedToken
from pi_cluster.transformer.text.loading import load_sentencepiece
from tests.support.small_tokenizers import STORYTELLER

OPENING, CLOSING = 2_057, 2_058
ON = {"type": "object", "properties": {"on": {"type": "boolean"}}, "required": ["on"]}


@cache
def tokenizer_of(has_tags):
    tags = [AddedToken(OPENING, "<think>"), AddedToken(CLOSING, "</think>")] if has_tags else []
    return load_sentencepiece(STORYTELLER, tags, 2_059, legacy=False)


class Thinking:
    """As much of a `TextModel` as a form needs."""

    def __init__(self, has_tags):
        self.tokenizer = tokenizer_of(has_tags)
        self.has_tags = has_tags

    def vocabulary(self):
        return build_vocabulary(self.tokenizer, 2_059, {2})

    def thought_ids(self):
        return (OPENING, CLOSING) if self.has_tags else (None, None)

    def ids(self, text):
        return self.tokenizer.encode(text, continuation=True)


def takes(constraint, ids):
    """Whether all of these may come, and then the end."""
    if constraint.permitted(ids) < len(ids):
        return False
    for one in ids:
        constraint.accept(one)
    return constraint.is_finished


@pytest.mark.parametrize("space", ["", " ", "\n\n"])
def test_an_answer_may_begin_with_a_little_white_space(space):
    model = Thinking(has_tags=False)
    assert takes(json_constraint(model, ON, False)(), model.ids(space + '{"on": true}'))


def test_a_model_whose_thoughts_have_tokens_may_think_before_it_answers_or_not():
    model = Thinking(has_tags=True)
    new, answer = json_constraint(model, ON, False), model.ids('\n\n{"on":true}')
    assert takes(new(), answer)
    assert takes(new(), [OPENING, *model.ids("\nLet {me} see.\n"), CLOSING, *answer])
    assert not takes(new(), model.ids("Let me see."))


def test_a_thought_that_the_prompt_has_begun_ends_before_the_form_begins():
    model = Thinking(has_tags=True)
    new, answer = json_constraint(model, ON, True), model.ids('\n\n{"on":true}')
    assert takes(new(), [*model.ids("Hm.\n"), CLOSING, *answer])
    assert not takes(new(), [*model.ids("Hm.\n"), CLOSING, *model.ids("Yes.")])


def test_a_thought_that_is_spelt_in_pieces_ends_at_its_tag():
    model = Thinking(has_tags=False)
    new = json_constraint(model, ON, True)
    assert takes(new(), model.ids('Hm, </thin\n</think>\n\n{"on": false}'))
    assert not takes(new(), model.ids("Hm.</think>Yes."))


def test_a_missing_library_is_named_with_what_installs_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "llguidance", None)
    name = "pi_cluster.coordinator.constraining.llguidance_constraint"
    monkeypatch.delitem(__import__("sys").modules, name, raising=False)
    with pytest.raises(PromptError, match="pip install llguidance"):
        json_constraint(Thinking(has_tags=False), ON, False)
