"""An answer whose session is lost goes on as if nothing had happened, whatever was asked for."""

from itertools import islice

import pytest

from pi_cluster import PipelineClient
from tests.support.asking import ENDLESS_IDS, FOX

SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 60}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
KINDS = {
    "drawn": (FOX, {"seed": 5}),
    "greedy": (ENDLESS_IDS, {"temperature": 0.0, "repeat_penalty": 1e9}),
    "penalties": (FOX, {"seed": 6, "presence_penalty": 0.7, "frequency_penalty": 0.4}),
    "log-probabilities": (FOX, {"seed": 7, "logprobs": 3}),
    "a schema": (FOX, {"seed": 8, "schema": SCHEMA}),
    "a schema with log-probabilities": (FOX, {"seed": 8, "schema": SCHEMA, "logprobs": 1}),
    "a stop": (FOX, {"seed": 5, "stop": " the end of what never comes"}),
    "no guesses": (FOX, {"seed": 9, "draft": False}),
}


@pytest.fixture(scope="module")
def client(shared_story):
    with shared_story.environment(), PipelineClient.connect(shared_story.name) as connected:
        yield connected


@pytest.mark.parametrize("every", [1, 7], ids=["after each piece", "now and then"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_text_is_the_same_to_the_last_token(client, kind, every):
    prompt, keywords = KINDS[kind]
    keywords = keywords | {"max_tokens": 24}
    whole = client.ask(prompt, **keywords)
    stream, pieces, lost = client.stream(prompt, **keywords), [], 0
    running = iter(stream)
    while came := list(islice(running, every)):
        pieces += came
        if not stream.has_ended:
            client.release()
            lost += 1
    again = stream.answer
    assert lost > 1
    assert (again.ids, again.text, again.finish_reason) == (
        *(whole.ids, whole.text),
        whole.finish_reason,
    )
    assert "".join(pieces) == whole.text
    assert again.logprobs == whole.logprobs
    assert len(again.logprobs or ()) == (len(whole.ids) if "logprobs" in keywords else 0)
    assert again.prompt_ids == whole.prompt_ids
    assert again.timings.prompt_tokens == len(whole.prompt_ids)
