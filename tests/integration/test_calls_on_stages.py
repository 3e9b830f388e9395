"""Calls of tools: the ids of one stage with masked logits, whatever the split, guesses or not."""

import json

import pytest

from pi_cluster.coordinator.asking.calls import calls_constraint
from pi_cluster.coordinator.calling.mistral import MistralList
from pi_cluster.coordinator.calling.tools import Tool, tool_use
from pi_cluster.coordinator.constraining.llguidance_constraint import Vocabulary
from pi_cluster.coordinator.finish_reason import FinishReason
from pi_cluster.coordinator.scheduling.cache_limits import CacheLimits
from pi_cluster.coordinator.served_model import ServedModel
from pi_cluster.transformer.cache import CacheRoom
from pi_cluster.transformer.limits import Limits
from pi_cluster.transformer.sampling_settings import SamplingSettings
from tests.support.calling_models import CallingModel
from tests.support.masked_rows import Ascii, in_every_way, masked_row_by_row
from tests.support.serving import GREEDY, Line, prompt_of, whole_model
from tests.support.worker_servers import pipeline

VOCAB, END, COUNT = 130, 129, 120
STEP_ROWS = 64
LIMITS = CacheLimits(20, 20 * 256, 256, (CacheRoom(32, 256),), STEP_ROWS)
OF_STAGES = Limits(STEP_ROWS, LIMITS.max_sequences, 1024, LIMITS.cache_positions)
MODEL = ServedModel(VOCAB, 1, frozenset({END}), None)
SEEDED = SamplingSettings(temperature=1.5, seed=3)
LEVEL = {"type": "integer", "minimum": 0, "maximum": 9}
LAMP = Tool(
    "turn_on",
    parameters={
        "properties": {"name": {"enum": ["kitchen", "hall"]}, "level": LEVEL},
        "required": ["name"],
    },
)
TOOLS = (LAMP, Tool("turn_off", parameters={"properties": {"all": {"type": "boolean"}}}))


@pytest.fixture(scope="module", params=[[0, 6], [0, 2, 4, 6]], ids=["one stage", "three stages"])
def line(request, random_store, tmp_path_factory):
    folder = tmp_path_factory.mktemp("stages")
    with pipeline(random_store, request.param, folder, OF_STAGES) as stages:
        yield Line(stages, MODEL, LIMITS, whole_model(random_store, OF_STAGES))


def opening_of(line, prompt, sampling):
    """An id that the model says soon by itself: as an opening, it begins a call there."""
    ids = line.alone(prompt, sampling, 40)
    return next(one for at, one in enumerate(ids) if at > 4 and one < 128 and one not in ids[:at])


def model_of(opening):
    tokenizer = Ascii(opening)
    call_format = MistralList(opening, dummy_prefix=False)
    return CallingModel(call_format, tokenizer, Vocabulary(tokenizer, VOCAB, {END}))


@pytest.mark.parametrize("choice", ["auto", "required", "turn_off"])
@pytest.mark.parametrize("sampling", [GREEDY, SEEDED], ids=["greedy", "seeded"])
def test_ids_are_those_of_one_stage_with_masked_logits(line, sampling, choice):
    prompt = prompt_of(4, 40)
    opening = opening_of(line, prompt, sampling)
    model = model_of(opening)
    new = calls_constraint(model, tool_use(TOOLS, choice, parallel=False), False, None)
    wanted = masked_row_by_row(line, prompt, sampling, new(), COUNT)
    assert (wanted.index(opening) > 0) == (choice == "auto")
    for ids, generation in in_every_way(line, prompt, sampling, new, COUNT):
        assert ids == wanted
        assert generation.finish_reason is FinishReason.EOS
    written = wanted[wanted.index(opening) + 1 :]
    spelt = (model.tokenizer.piece_bytes(one, continuation=True) for one in written)
    (call,) = json.loads(b"".join(spelt))
    assert call["name"] in ({"turn_on", "turn_off"} if choice != "turn_off" else {"turn_off"})
