"""Answers that follow a schema, asked of a whole pipeline as a library."""

import json

import jsonschema
import pytest

from pi_cluster import FinishReason, PipelineClient, PromptError

LAMP = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 12},
        "brightness": {"type": "integer", "minimum": 0, "maximum": 100},
        "mode": {"enum": ["on", "off"]},
    },
    "required": ["name", "brightness", "mode"],
}
TAGS = {"type": "array", "items": {"enum": ["a", "b", "ab"]}, "minItems": 2, "maxItems": 4}


@pytest.fixture
def client(story):
    with story.environment(), PipelineClient.connect(story.name) as connected:
        yield connected


@pytest.mark.parametrize("schema", [LAMP, TAGS, {"anyOf": [LAMP, {"type": "null"}]}])
def test_an_answer_that_ends_follows_its_schema_and_is_the_same_without_guesses(client, schema):
    for seed in range(3):
        settings = {"schema": schema, "seed": seed, "max_tokens": 200, "temperature": 1.0}
        answer = client.ask("Describe the lamp.", **settings)
        assert answer.finish_reason is FinishReason.EOS
        jsonschema.validate(json.loads(answer.text), schema)
        assert client.ask("Describe the lamp.", **settings, draft=False).ids == answer.ids


def test_any_object_is_asked_for_in_words_where_the_chat_has_none(client):
    anything = {"type": "object"}
    told = client.question("Describe the lamp.", schema=anything)
    as_chat = [
        {"role": "system", "content": "Answer with one JSON object and nothing else."},
        {"role": "user", "content": "Describe the lamp."},
    ]
    assert told.prompt_ids == client.question(as_chat).prompt_ids
    known = "Describe the lamp as JSON."
    with_schema = client.question(known, schema=anything)
    assert with_schema.prompt_ids == client.question(known).prompt_ids


def test_a_schema_that_cannot_be_followed_is_named_before_anything_is_asked(client):
    bad = {"type": "object", "properties": {"a": {"not": {"type": "null"}}}}
    with pytest.raises(PromptError, match="#/properties/a/not"):
        client.question("Describe the lamp.", schema=bad)
    with pytest.raises(PromptError, match="65536"):
        client.question("Describe the lamp.", schema={"const": "x" * 70_000})
