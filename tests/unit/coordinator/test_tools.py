"""Tools as programs and APIs give them: read, or refused by name."""

import pytest

from pi_cluster.coordinator.calling.tools import MOST_TOOLS, Tool, new_call_id, tool_use
from pi_cluster.transformer.errors import PromptError

LAMP = Tool("turn_on", "Turn a lamp on.", {"type": "object", "properties": {"name": {}}})


def test_a_tool_is_read_as_it_is_written():
    assert Tool.of(LAMP.to_json()) == LAMP
    bare = Tool.of({"function": {"name": "now", "parameters": None, "description": None}})
    assert bare == Tool("now")
    assert bare.parameters == {"type": "object", "properties": {}}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"type": "web_search"}, "a tool is a Tool"),
        ("turn_on", "a tool is a Tool"),
        ({"function": {}}, "letters, digits"),
        ({"function": {"name": "turn on"}}, "letters, digits"),
        ({"function": {"name": "n" * 65}}, "letters, digits"),
        ({"function": {"name": "none"}}, "choice of tools"),
        ({"function": {"name": "a", "description": 7}}, "description of the tool a"),
        ({"function": {"name": "a", "parameters": "{}"}}, "schema of the tool a"),
        ({"function": {"name": "a", "parameters": {"type": "array"}}}, "schema of the tool a"),
        ({"function": {"name": "a", "parameters": {"const": "x" * 70_000}}}, "tool a has 70"),
    ],
)
def test_what_is_no_tool_is_refused_by_name(given, said):
    with pytest.raises(PromptError, match=said):
        Tool.of(given)


@pytest.mark.parametrize(
    ("tools", "choice", "said"),
    [
        ([LAMP, LAMP], None, "two tools are named turn_on"),
        ([LAMP], "turn_off", "tool_choice is 'turn_off'"),
        ([], "required", "there are no tools"),
        ([Tool(f"t{i}") for i in range(MOST_TOOLS + 1)], None, "at most 128"),
        ([Tool(f"t{i}", "x" * 60_000) for i in range(5)], None, "at most 262144"),
    ],
)
def test_a_choice_that_makes_no_sense_is_refused(tools, choice, said):
    with pytest.raises(PromptError, match=said):
        tool_use(tools, choice, parallel=True)


def test_a_tool_that_is_named_has_to_be_called_and_no_other_may():
    use = tool_use([LAMP, Tool("now")], "now", parallel=True)
    assert use.is_required
    assert [tool.name for tool in use.callable] == ["now"]
    assert tool_use([LAMP], "none", parallel=True) is None
    assert not tool_use([LAMP], None, parallel=True).is_required


def test_ids_are_what_every_template_takes():
    ids = {new_call_id() for _ in range(50)}
    assert len(ids) == 50
    assert all(len(one) == 9 and one.isascii() and one.isalnum() for one in ids)
