"""What keeps an answer's calls to their form: free before they begin, sound from there on."""

import json
import random

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.forced_ids import CALL as CALL_AT_HOME
from benchmarks.forced_ids import TOOLS as TOOLS_AT_HOME
from pi_cluster.coordinator.asking.calls import calls_constraint, calls_reader
from pi_cluster.coordinator.asking.parts import AnswerParts, Called, Said
from pi_cluster.coordinator.calling.tools import Tool, tool_use
from pi_cluster.transformer.errors import PromptError
from tests.support.calling_models import mistral_model, small_model

FORMATS = ["mistral", "mistral v11", "hermes", "hermes in pieces", "llama", "generic"]
EOS = 2
LEVEL = {"type": "integer", "minimum": 0, "maximum": 9}
LAMP = Tool(
    "turn_on",
    parameters={
        "type": "object",
        "properties": {"level": LEVEL, "on": {"type": "boolean"}},
        "required": ["level"],
    },
)
NOW = Tool("now")
TOOLS = {tool.name: tool for tool in (LAMP, NOW)}
CALL = '{"name": "turn_on", "arguments": {"level": 7}}'


def constraint_of(model, *, choice=None, parallel=True, tools=(LAMP, NOW), thought=False, **more):
    use = tool_use(tools, choice, parallel)
    return calls_constraint(model, use, thought, more.get("schema"))()


def allowed(constraint):
    mask = constraint.mask()
    return {i for i in range(8 * len(mask)) if mask[i >> 3] >> (i & 7) & 1}


def follow(constraint, ids):
    """How many of these may come."""
    for count, one in enumerate(ids):
        mask = constraint.mask()
        if constraint.is_finished or not (mask is None or one in allowed(constraint)):
            return count
        constraint.accept(one)
    return len(ids)


def drawn(constraint, model, seed, most=300):
    """An answer drawn from what is allowed, and whether it may end."""
    draw, ids = random.Random(seed), []
    while not constraint.is_finished and len(ids) < most:
        choices = sorted(allowed(constraint) - {EOS})
        if EOS in allowed(constraint) and (not choices or draw.random() < 0.5):
            return ids, True
        ending = [i for i in choices if model.shown_bytes(i)[-1:] in (b'"', b"}", b"]", b"")]
        ids.append(draw.choice(ending if ending and draw.random() < 0.7 else choices))
        constraint.accept(ids[-1])
    return ids, constraint.is_finished


def parts_of(model, ids, *, thought=False):
    reader = calls_reader(model, tool_use([LAMP, NOW], None, parallel=True))
    parts = AnswerParts(begins_in_thought=thought, calls=reader)
    return [*parts.push(model.read(ids)), *parts.finish()]


@settings(max_examples=60)
@given(
    name=st.sampled_from(FORMATS),
    seed=st.integers(0, 999),
    choice=st.sampled_from(["required", "turn_on", "now"]),
    parallel=st.booleans(),
)
def test_every_answer_that_has_to_call_is_read_as_sound_calls(name, seed, choice, parallel):
    model = small_model(name)
    constraint = constraint_of(model, choice=choice, parallel=parallel)
    ids, has_ended = drawn(constraint, model, seed)
    calls = [part.call for part in parts_of(model, ids) if isinstance(part, Called)]
    for call in calls:
        given = json.loads(call.arguments)
        jsonschema.validate(given, TOOLS[call.name].parameters)
        assert given.keys() <= TOOLS[call.name].parameters["properties"].keys()
        assert choice in ("required", call.name)
    if has_ended:
        assert len(calls) == len(parts_of(model, ids)) >= 1
    assert len(calls) <= (16 if parallel else 1)


@pytest.mark.parametrize("name", ["mistral", "mistral v11", "hermes", "hermes in pieces", "llama"])
def test_what_is_said_before_a_call_is_free_and_the_call_is_not(name):
    model = small_model(name)
    constraint = constraint_of(model)
    text = model.ids('Well {"name": [1]} <tool_')
    assert follow(constraint, text) == len(text)
    assert constraint.mask() is None
    opening = model.call_format().openings[0]
    begin = [opening] if isinstance(opening, int) else model.ids("<tool_call>")
    for one in begin:
        assert constraint.mask() is None
        constraint.accept(one)
    assert constraint.mask() is not None
    assert EOS not in allowed(constraint)
    ids, has_ended = drawn(constraint, model, 5)
    said, *called = parts_of(model, [*text, *begin, *ids])
    assert has_ended
    assert isinstance(said, Said)
    assert called
    assert all(isinstance(part, Called) for part in called)


@pytest.mark.parametrize("version", ["v3", "v3-tekken"])
def test_a_call_of_mistrals_is_spelt_as_the_model_was_taught(version):
    model = mistral_model(version)
    call = '[{"name": "turn_on", "arguments": {"level": 7, "on": true}}]'
    ids = [model.call_format().openings[0], *model.tokenizer.encode(call)]
    for choice in (None, "required"):
        constraint, at = constraint_of(model, choice=choice, parallel=False), 0
        forced = 0
        while at < len(ids):
            ahead = list(constraint.forced())
            assert ids[at : at + len(ahead)] == ahead
            assert not ahead or constraint.mask() is not None
            forced += len(ahead)
            for one in ahead or ids[at : at + 1]:
                assert constraint.mask() is None or one in allowed(constraint)
                constraint.accept(one)
            at += len(ahead) or 1
        assert constraint.is_finished
        assert 2 * forced > len(ids)
    assert [part.call.name for part in parts_of(model, ids)] == ["turn_on"]


@pytest.mark.parametrize("choice", [None, "required"])
@pytest.mark.parametrize(("version", "ids"), [("v3", 38), ("v3-tekken", 37)])
def test_a_call_of_home_assistant_leaves_at_most_20_ids_to_wait_for(version, ids, choice):
    model = mistral_model(version)
    call = [model.call_format().openings[0], *model.tokenizer.encode(json.dumps([CALL_AT_HOME]))]
    constraint = constraint_of(model, choice=choice, tools=TOOLS_AT_HOME)
    waits = at = 0
    while at < len(call):
        certain = list(constraint.forced())
        if not certain:
            likely = list(constraint.likely())
            certain = likely if likely and call[at : at + len(likely)] == likely else []
        waits += not certain
        for one in certain or call[at : at + 1]:
            constraint.accept(one)
            at += 1
    assert len(call) == ids
    assert waits <= 20


@settings(max_examples=60)
@given(name=st.sampled_from(FORMATS), seed=st.integers(0, 99), data=st.data())
def test_what_may_follow_is_the_same_after_guesses_were_taken_back(name, seed, data):
    model = small_model(name)
    opening = [one for one in model.call_format().openings if isinstance(one, int)]
    begin = [*model.ids("So be it."), *(opening or model.ids("<tool_call>"))]
    free = model.call_format().text() is None
    calls, _ = drawn(constraint_of(model, choice="required"), model, seed, most=30)
    ids = [*begin, *calls[len(opening) :]] if free else calls
    rows = constraint_of(model)
    masks = []
    for at, one in enumerate(ids):
        masks.append(rows.mask())
        if rows.is_finished or not (masks[-1] is None or one in allowed(rows)):
            ids = ids[:at]
            break
        rows.accept(one)
    other = constraint_of(model)
    for at, one in enumerate(ids):
        ahead = data.draw(st.integers(0, min(8, len(ids) - at)))
        for guess in ids[at : at + ahead]:
            other.accept(guess)
        if ahead:
            other.rollback(ahead)
        assert other.mask() == masks[at]
        other.accept(one)


def test_one_call_is_all_where_calls_are_not_to_be_parallel():
    model = small_model("mistral")
    opening = model.call_format().openings[0]
    two = [opening, *model.ids(f" [{CALL}, {CALL}]")]
    assert follow(constraint_of(model), two) == len(two)
    assert follow(constraint_of(model, parallel=False), two) < len(two)


@pytest.mark.parametrize("choice", [None, "required"])
def test_a_model_may_think_before_it_calls(choice):
    model = small_model("hermes", thinks=True)
    opening, closing = model.thought_ids()
    call = [model.call_format().openings[0], *model.ids("\n" + CALL + "\n")]
    thought = [opening, *model.ids("\nHm. <tool_call>"), closing, *model.ids("\n\n")]
    constraint = constraint_of(model, choice=choice)
    ids = [*thought, *call]
    assert follow(constraint, ids) == len(ids)
    assert not constraint.is_finished
    assert follow(constraint_of(model, choice=choice, thought=True), ids[1:]) == len(ids) - 1
    unsound = [*thought, call[0], *model.ids("\nperhaps")]
    assert follow(constraint_of(model, choice=choice), unsound) < len(unsound)


def test_a_tag_within_a_thought_begins_no_call():
    model = small_model("hermes", thinks=True)
    opening, _ = model.thought_ids()
    constraint = constraint_of(model)
    ids = [opening, *model.ids("\nHm. "), model.call_format().openings[0], *model.ids("no JSON")]
    assert follow(constraint, ids) == len(ids)


def test_a_schema_holds_for_what_is_said_instead_of_calls():
    model = small_model("mistral")
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
    for answer in (
        model.ids('{"ok": true}'),
        [model.call_format().openings[0], *model.ids(f" [{CALL}]")],
    ):
        constraint = constraint_of(model, schema=schema)
        assert follow(constraint, answer) == len(answer)
    prose = model.ids("Yes.")
    assert follow(constraint_of(model, schema=schema), prose) < len(prose)


HARD = {"type": "object", "properties": {"a": {"not": {"type": "null"}}}}


def test_arguments_are_any_object_where_their_schema_cannot_be_followed():
    model = small_model("mistral")
    tools = [Tool("odd", parameters=HARD), LAMP]
    call = '{"name": "odd", "arguments": {"b": [1]}}'
    answer = [model.call_format().openings[0], *model.ids(f" [{call}, {CALL}]")]
    assert follow(constraint_of(model, tools=tools, choice="required"), answer) == len(answer)
    wrong = [answer[0], *model.ids(' [{"name": "turn_on", "arguments": {"b"')]
    assert follow(constraint_of(model, tools=tools, choice="required"), wrong) < len(wrong)


@pytest.mark.parametrize(
    "parameters",
    [HARD, {"$ref": "https://example.com"}, {"properties": {"a": {"pattern": "(?<=a)b"}}}],
)
def test_a_strict_tool_whose_schema_cannot_be_followed_is_refused_by_name(parameters):
    tool = Tool("odd", parameters=parameters, strict=True)
    with pytest.raises(PromptError, match=r"^the tool odd is strict, and the schema"):
        constraint_of(small_model("mistral"), tools=[LAMP, tool])


def test_many_tools_of_some_size_are_followed():
    wide = {"type": "object", "properties": {f"p{i}": {"type": "string"} for i in range(30)}}
    tools = [Tool(f"tool_{i}", parameters=wide) for i in range(128)]
    model = small_model("mistral")
    answer = [model.call_format().openings[0], *model.ids(' [{"name": "tool_127", "arg')]
    constraint = constraint_of(model, tools=tools)
    assert follow(constraint, answer) == len(answer)
