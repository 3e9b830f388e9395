"""From what is asked to the ids that a model reads, and to what its answer keeps to."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from pi_cluster.coordinator.asking.calls import (
    calls_constraint,
    calls_marks,
    calls_reader,
    told_of_tools,
)
from pi_cluster.coordinator.asking.question import Prompt, Question
from pi_cluster.coordinator.asking.structured import asking_for_json, json_constraint
from pi_cluster.coordinator.calling.tools import Tool, ToolUse, tool_use
from pi_cluster.coordinator.calling.turns import checked_turns
from pi_cluster.coordinator.generation import GenerationOptions
from pi_cluster.coordinator.pooling import Pooling
from pi_cluster.coordinator.scoring import Scoring
from pi_cluster.coordinator.text_model import Message, TextModel
from pi_cluster.transformer.errors import PromptError, naming
from pi_cluster.transformer.text.thoughts import ends_in_thought

CONTINUES_AS_IT_IS = "this model has no chat template: continuing the text as it is"


def chat_text(
    model: TextModel, turns: Sequence[Message], tools: Sequence[Tool | Mapping[str, Any]]
) -> str:
    """A chat as the model reads it; raises as `make_question` does."""
    use = tool_use(tools, None, True)
    told = told_of_tools(model, checked_turns(turns), use)
    return model.chat_text(told, _shown_tools(model, use))


def make_question(
    model: TextModel,
    prompt: Prompt,
    options: GenerationOptions,
    stops: Sequence[str],
    on_notice: Callable[[str], None],
    *,
    raw: bool = False,
    think: bool | None = None,
    schema: Mapping[str, Any] | None = None,
    tools: Sequence[Tool | Mapping[str, Any]] = (),
    tool_choice: str | None = None,
    parallel_tool_calls: bool = True,
    continues: bool = False,
    most_pooled: int | None = None,
) -> Question:
    """Encode what is asked.

    A text is a turn of a chat, or continued if ``raw`` or if the model knows no turns, of which
    ``on_notice`` is told. With a ``schema`` the answer is JSON that follows it. What is to become a
    vector is cut to ``most_pooled`` tokens. Raises ``PromptError`` for what this model cannot be
    asked, and ``SettingsError`` for a stop string that it cannot have.
    """
    if options.pooling:
        prompt_ids = _pooled_ids(model, prompt, options.pooling, most_pooled)
        return Question(prompt_ids, options, lambda: None)
    if options.scoring:
        return Question(_scored_ids(prompt, options.scoring), options, lambda: None)
    if schema is not None:
        prompt = asking_for_json(prompt, schema, raw=raw)
    with naming("tools"):
        use = tool_use(tools, tool_choice, parallel_tool_calls)
    prompt = _checked(prompt, raw=raw, has_tools=use is not None)
    if not raw:
        prompt = told_of_tools(model, prompt, use)
    begun = ""
    if continues:
        turns = _continued(prompt, use, schema)
        begun = turns[-1]["content"]
        prompt_ids = model.chat_ids(turns, think, continues=True)
    else:
        tools = _shown_tools(model, use)
        prompt_ids, continues = _encode(model, prompt, raw, think, tools, on_notice)
    in_thought = ends_in_thought(begun) or model.begins_in_thought(prompt_ids)
    marks = calls_marks(model) if use else None
    new_text = partial(model.answer, tuple(stops), raw=continues, marks=marks)
    new_text()  # what is wrong with a stop string is said before anything is asked
    if use:
        keeps_to = calls_constraint(model, use, in_thought, schema)
        new_calls = partial(calls_reader, model, use)
        return Question(prompt_ids, options, new_text, in_thought, keeps_to, use, new_calls)
    new_constraint = None if schema is None else json_constraint(model, schema, in_thought)
    return Question(prompt_ids, options, new_text, in_thought, new_constraint)


def _shown_tools(model: TextModel, use: ToolUse | None) -> list[dict[str, Any]]:
    """What the chat template is to tell the model that it may call."""
    return [tool.to_json() for tool in use.tools] if use and model.takes_tools else []


def _pooled_ids(model: TextModel, prompt: Prompt, pooling: Pooling, most: int | None) -> list[int]:
    """Ids of a text, or those that are given, of which a vector is wanted: at most so many."""
    if not isinstance(prompt, str):
        return _checked_ids(prompt)[:most]
    if not prompt:
        raise PromptError("a text is empty: give it at least one character")
    return model.embedded_ids(prompt, pooling, most)


def _scored_ids(prompt: Prompt, scoring: Scoring) -> list[int]:
    """Ids that are given, of which the last rows are scored."""
    ids = [] if isinstance(prompt, str) else _checked_ids(prompt)
    if len(ids) < len(scoring.ids):
        raise PromptError(
            f"{len(scoring.ids)} ids cannot be scored behind the rows of {len(ids)}: give the ids "
            "before them, too"
        )
    return ids


def _encode(
    model: TextModel,
    prompt: Prompt,
    raw: bool,
    think: bool | None,
    tools: Sequence[Mapping[str, Any]],
    on_notice: Callable[[str], None],
) -> tuple[list[int], bool]:
    """Ids of a prompt, and whether its answer continues the text rather than replies to it."""
    if isinstance(prompt, str):
        if not prompt:
            raise PromptError("the prompt is empty: give it at least one character")
        if not raw and model.has_tokenizer and not model.has_chat_template:
            on_notice(CONTINUES_AS_IT_IS)
            raw = True
        if raw:
            _refuse_to_switch(think)
            return model.raw_ids(prompt), True
        return model.chat_ids([{"role": "user", "content": prompt}], think, tools), False
    turns = [one for one in prompt if isinstance(one, Mapping)]
    if not turns:
        _refuse_to_switch(think)
        return _checked_ids(prompt), True
    return model.chat_ids(turns, think, tools), False


def _checked(prompt: Prompt, *, raw: bool, has_tools: bool) -> Prompt:
    """A chat with its calls and results matched; anything else as it is."""
    turns = [] if isinstance(prompt, str) else [one for one in prompt if isinstance(one, Mapping)]
    if has_tools and (raw or not (turns or isinstance(prompt, str))):
        raise PromptError("tools belong to a chat: give its turns, and neither ids nor `raw`")
    if not turns:
        return prompt
    if raw or len(turns) < len(prompt):
        raise PromptError("turns of a chat stand alone: neither with ids nor with `raw`")
    with naming("messages"):
        return checked_turns(turns)


def _continued(
    prompt: Prompt, use: ToolUse | None, schema: Mapping[str, Any] | None
) -> list[Message]:
    """The turns, if they end with what the assistant may go on with; else `PromptError`."""
    turns = [] if isinstance(prompt, str) else [one for one in prompt if isinstance(one, Mapping)]
    if not turns or turns[-1]["role"] != "assistant" or turns[-1].get("tool_calls"):
        raise PromptError("there is nothing to go on with: let the last turn be the assistant's")
    if use or schema is not None:
        raise PromptError(
            "an answer that goes on cannot follow a schema or call tools: leave them out, or end "
            "with a turn of the user"
        )
    return turns


def _refuse_to_switch(think: bool | None) -> None:
    if think is not None:
        raise PromptError("only a chat template switches thinking: leave --think out")


def _checked_ids(prompt: Sequence[object]) -> list[int]:
    ids = [one for one in prompt if isinstance(one, int)]
    if len(ids) < len(prompt):
        raise PromptError(
            "ask with a text, with a list of token ids, or with a list of turns such as "
            '{"role": "user", "content": "..."}'
        )
    return ids
