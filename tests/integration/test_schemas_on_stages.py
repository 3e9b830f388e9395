"""Answers that follow a schema: the ids of one stage with masked logits, whatever the split."""

import json
from functools import partial

import jsonschema
import pytest

from pi_cluster.coordinator.constraining.grammar import json_rule
from pi_cluster.coordinator.constraining.llguidance_constraint import Vocabulary
from pi_cluster.coordinator.finish_reason import FinishReason
from pi_cluster.coordinator.generation import GenerationOptions
from pi_cluster.coordinator.scheduling.cache_limits import CacheLimits
from pi_cluster.coordinator.served_model import ServedModel
from pi_cluster.transformer.cache import CacheRoom
from pi_cluster.transformer.limits import Limits
from pi_cluster.transformer.sampling_settings import SamplingSettings
from tests.support.masked_rows import Ascii, in_every_way, masked_row_by_row
from tests.support.serving import GREEDY, Line, prompt_of, whole_model
from tests.support.worker_servers import pipeline

VOCAB, END, COUNT = 130, 129, 120
STEP_ROWS = 64
LIMITS = CacheLimits(20, 20 * 256, 256, (CacheRoom(32, 256),), STEP_ROWS)
OF_STAGES = Limits(STEP_ROWS, LIMITS.max_sequences, 1024, LIMITS.cache_positions)
MODEL = ServedModel(VOCAB, 1, frozenset({END}), None)
SEEDED = SamplingSettings(temperature=1.5, seed=3)
LAMP = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 5},
        "brightness": {"type": "integer", "minimum": 0, "maximum": 100},
        "mode": {"enum": ["on", "off"]},
    },
    "required": ["name", "brightness", "mode"],
}
TAGS = {"type": "array", "items": {"enum": ["a", "b", "ab"]}, "minItems": 2, "maxItems": 4}


@pytest.fixture(scope="module", params=[[0, 6], [0, 2, 4, 6]], ids=["one stage", "three stages"])
def line(request, random_store, tmp_path_factory):
    folder = tmp_path_factory.mktemp("stages")
    with pipeline(random_store, request.param, folder, OF_STAGES) as stages:
        yield Line(stages, MODEL, LIMITS, whole_model(random_store, OF_STAGES))


@pytest.fixture(scope="module")
def vocabulary():
    return Vocabulary(Ascii(), VOCAB, {END})


@pytest.mark.parametrize("fixed", [True, False], ids=["fixed", "flexible"])
@pytest.mark.parametrize("schema", [LAMP, TAGS], ids=["lamp", "tags"])
@pytest.mark.parametrize("sampling", [GREEDY, SEEDED], ids=["greedy", "seeded"])
def test_ids_are_those_of_one_stage_with_masked_logits(line, vocabulary, sampling, schema, fixed):
    grammar = f"start: {json_rule(schema, fixed=fixed)}\n"
    new = partial(vocabulary.constraint, grammar)
    prompt = prompt_of(4, 40)
    wanted = masked_row_by_row(line, prompt, sampling, new(), COUNT)
    for ids, generation in in_every_way(line, prompt, sampling, new, COUNT):
        assert ids == wanted
        if generation.finish_reason is FinishReason.EOS:
            jsonschema.validate(json.loads(bytes(ids)), schema)


def test_an_object_with_its_names_takes_less_than_half_as_many_steps_as_ids(line, vocabulary):
    schema = {
        "type": "object",
        "properties": {"brightness": {"enum": [10, 20]}, "lamp is on": {"type": "boolean"}},
        "required": ["brightness", "lamp is on"],
    }
    constraint = vocabulary.constraint(f"start: {json_rule(schema, fixed=True)}\n")
    with line.served() as scheduler:
        before = scheduler.counters.steps
        generation = scheduler.submit(
            prompt_of(4, 20), GenerationOptions(GREEDY, COUNT, draft=False), constraint=constraint
        )
        ids = list(generation)
        steps = scheduler.counters.steps - before
    jsonschema.validate(json.loads(bytes(ids)), schema)
    assert generation.finish_reason is FinishReason.EOS
    assert 2 * steps < len(ids)
