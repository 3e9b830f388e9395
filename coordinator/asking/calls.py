"""Answers that call tools: what keeps them to the form of calls, and what reads those."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from pi_cluster.coordinator.calling.awaiting import CallsAwaited, Watch
from pi_cluster.coordinator.calling.call_format import MOST_CALLS, CallFormat
from pi_cluster.coordinator.calling.plain_chat import Messages, plain_chat, speaks_of_tools
from pi_cluster.coordinator.calling.reading import CallReader
from pi_cluster.coordinator.calling.tools import ToolUse
from pi_cluster.coordinator.constraining.grammar import (
    ANY_OBJECT,
    SPACE,
    behind_thought,
    check_schema,
    json_rule,
)
from pi_cluster.coordinator.constraint import Constraint
from pi_cluster.coordinator.text_model import TextModel
from pi_cluster.transformer.errors import PromptError

if TYPE_CHECKING:
    from pi_cluster.coordinator.constraining.llguidance_constraint import Vocabulary

P = TypeVar("P")
Schemas = Sequence[Mapping[str, Any]]


def told_of_tools(model: TextModel, prompt: P, use: ToolUse | None) -> P | Messages:
    """A chat by which a model that was taught no tools can use them all the same.

    Its template would not say what there is to call, nor take what was called before.
    """
    turns: Messages = []
    if isinstance(prompt, str):
        turns = [{"role": "user", "content": prompt}] if use else []
    elif isinstance(prompt, Sequence) and all(isinstance(turn, Mapping) for turn in prompt):
        turns = prompt
    if not turns or not (use or speaks_of_tools(turns)) or model.takes_tools:
        return prompt
    return plain_chat(turns, use.tools if use else ())


def calls_marks(model: TextModel) -> Mapping[int, str]:
    """The characters that stand for the tokens between which calls are written."""
    return {token: mark.character for token, mark in model.call_format().marks.items()}


def calls_reader(model: TextModel, use: ToolUse) -> CallReader:
    """Reads the calls of one answer."""
    names = {tool.name for tool in use.tools}
    return CallReader(model.call_format(), names, MOST_CALLS if use.parallel else 1)


def calls_constraint(
    model: TextModel, use: ToolUse, begins_in_thought: bool, schema: Mapping[str, Any] | None
) -> Callable[[], Constraint] | None:
    """Makes what keeps an answer's calls to their form, and what else it says to ``schema``.

    What a model says before it calls is free, if it need not call and its form has an opening. The
    arguments of a tool whose schema cannot be followed are any object. Compiles the schemas, which
    takes milliseconds. Raises ``PromptError`` where that makes no sense, or a tool is strict.
    """
    call_format, vocabulary = model.call_format(), model.vocabulary()
    calls = call_format.calls(MOST_CALLS if use.parallel else 1)
    if not use.is_required and schema is None and call_format.text() is None:
        if not call_format.openings:
            return None
        begun = _compiled(vocabulary, use, call_format, f"start: {calls}\n")
        watch = Watch(call_format.openings, model.shown_bytes, begins_in_thought=begins_in_thought)
        return lambda: CallsAwaited(watch, vocabulary.constraint(begun).anew)
    opening, closing = model.thought_ids()
    thought = behind_thought(opening, closing, begins_in_thought=begins_in_thought)
    may_think = begins_in_thought or closing is not None
    called = f"{'SPACE?' if may_think else ''} {call_format.opening()} {calls}"
    answer = f"answer: {called}{_or_else(use, call_format, schema)}\n"
    grammar = f"{thought}{answer}{SPACE}"
    return partial(vocabulary.constraint, _compiled(vocabulary, use, call_format, grammar))


def _or_else(use: ToolUse, call_format: CallFormat, schema: Mapping[str, Any] | None) -> str:
    """What an answer may be instead of calls."""
    if use.is_required:
        return ""
    if schema is None:
        return f" | {call_format.text()}"
    if call_format.text() is not None:
        raise PromptError(
            "this model's chat template knows no tools, so it takes tools or a schema, not both: "
            "leave one of them out"
        )
    check_schema(schema, "the schema")
    return f" | SPACE? json\njson: {json_rule(schema, fixed=False)}"


def _compiled(vocabulary: "Vocabulary", use: ToolUse, call_format: CallFormat, grammar: str) -> str:
    """The grammar with a rule for each tool, which can be followed."""
    whole = grammar + _rules(use, call_format, [tool.parameters for tool in use.callable])
    try:
        vocabulary.constraint(whole)
    except PromptError:
        whole = grammar + _rules(use, call_format, _followed(vocabulary, use))
        try:
            vocabulary.constraint(whole)
        except PromptError as error:
            raise PromptError(
                f"what the answer must keep to cannot be followed: {error}"
            ) from error
    return whole


def _rules(use: ToolUse, call_format: CallFormat, schemas: Schemas) -> str:
    rules = [f"call: {' | '.join(f'call_{number}' for number in range(len(schemas)))}"]
    for number, (tool, schema) in enumerate(zip(use.callable, schemas, strict=True)):
        rules.append(f"call_{number}: {call_format.call(tool.name, f'arguments_{number}')}")
        rules.append(f"arguments_{number}: {_arguments(schema)}")
    return "\n".join(rules) + "\n"


def _followed(vocabulary: "Vocabulary", use: ToolUse) -> Schemas:
    """The schemas of the tools, and any object for those that cannot be followed."""
    followed: list[Mapping[str, Any]] = []
    for tool in use.callable:
        try:
            vocabulary.constraint(f"start: {_arguments(tool.parameters)}\n")
        except PromptError as error:
            if tool.strict:
                why = vocabulary.explained(error, tool.parameters)
                raise PromptError(f"the tool {tool.name} is strict, and {why}") from error
            followed.append(ANY_OBJECT)
        else:
            followed.append(tool.parameters)
    return followed


def _arguments(schema: Mapping[str, Any]) -> str:
    return json_rule({"type": "object", **schema}, fixed=True)
