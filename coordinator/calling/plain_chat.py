"""A chat with tools in the words of one without, for templates that know no tools.

The system's message says what there is to call and in which form to answer; see `generic.py`.
Earlier answers stand in the form in which they were given, and results are told as the user's.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pi_cluster.coordinator.calling.tools import Tool

Messages = Sequence[Mapping[str, Any]]
_TOLD = """You can have these tools called, each described by a JSON schema:
{tools}

To call some of them, answer with one JSON object of this form, and nothing else:
{{"tool_calls": [{{"name": "the tool's name", "arguments": {{"its": "arguments"}}}}]}}
Otherwise answer with one JSON object of this form:
{{"response": "what you say"}}"""


def plain_chat(messages: Messages, tools: Sequence[Tool]) -> Messages:
    """The same chat, which begins with what there is to call, if there is something."""
    plain = [*_plain_turns(messages, has_tools=bool(tools))]
    if not tools:
        return plain
    functions = (_written(tool.to_json()["function"]) for tool in tools)
    told = _TOLD.format(tools="\n".join(functions))
    if plain and plain[0].get("role") == "system":
        return [{**plain[0], "content": f"{plain[0].get('content') or ''}\n\n{told}"}, *plain[1:]]
    return [{"role": "system", "content": told}, *plain]


def speaks_of_tools(messages: Messages) -> bool:
    """Whether a chat has calls or their results in it."""
    return any(one.get("role") == "tool" or one.get("tool_calls") for one in messages)


def _plain_turns(messages: Messages, *, has_tools: bool) -> Iterator[Mapping[str, Any]]:
    named: dict[str, str] = {}  # by the ids of calls
    for message in messages:
        role, content = message.get("role"), message.get("content")
        if role == "tool":
            call_id = str(message.get("tool_call_id") or "")
            name = message.get("name") or named.get(call_id, "the tool")
            yield {"role": "user", "content": f"{name} has returned: {content or ''}"}
        elif role == "assistant" and message.get("tool_calls"):
            calls = [_call(one) for one in message["tool_calls"]]
            ids = (str(one.get("id") or "") for one in message["tool_calls"])
            named.update(zip(ids, (call["name"] for call in calls), strict=True))
            yield {"role": role, "content": _written({"tool_calls": calls})}
        elif role == "assistant" and has_tools and isinstance(content, str):
            yield {"role": role, "content": _written({"response": content})}
        else:
            yield message


def _call(given: Mapping[str, Any]) -> dict[str, Any]:
    function = given.get("function") or given
    arguments = function.get("arguments") or {}
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except ValueError:
            arguments = {"arguments": arguments}
    return {"name": str(function.get("name")), "arguments": arguments}


def _written(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
