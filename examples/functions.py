"""Have a model switch lamps: function calling with OpenAI's own client.

    pip install openai
    python examples/functions.py "Make it dark in the kitchen."

Asks the server at OPENAI_BASE_URL, or http://127.0.0.1:8080/v1, with the key OPENAI_API_KEY.
"""

import inspect
import json
import os
import sys
from collections.abc import Callable
from typing import Any, Literal, get_args

import openai
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionMessageToolCall

MOST_ROUNDS = 4  # of calls: a model may go on for ever
Room = Literal["kitchen", "hall"]
LAMPS: dict[Room, bool] = {"kitchen": True, "hall": False}


def list_lamps() -> str:
    """Which lamps there are, and whether they are on."""
    return json.dumps({room: "on" if is_on else "off" for room, is_on in LAMPS.items()})


def switch_lamp(room: Room, on: bool) -> str:
    """Switch the lamp of a room on or off."""
    LAMPS[room] = on
    return f"the lamp in the {room} is {'on' if on else 'off'} now"


FUNCTIONS: dict[str, Callable[..., str]] = {"list_lamps": list_lamps, "switch_lamp": switch_lamp}
JSON_TYPES = {"str": "string", "bool": "boolean", "int": "integer", "float": "number"}


def as_schema(annotation: Any) -> dict[str, object]:
    """What the arguments of a parameter may be. A small model is glad of a choice."""
    if choices := get_args(annotation):
        return {"enum": list(choices)}
    return {"type": JSON_TYPES[annotation.__name__]}


def as_tool(function: Callable[..., str]) -> dict[str, object]:
    """What the model is told of a function: its name, what it does, and its parameters."""
    parameters = inspect.signature(function).parameters
    types = {name: as_schema(parameter.annotation) for name, parameter in parameters.items()}
    schema = {"type": "object", "properties": types, "required": list(types)}
    described = {"name": function.__name__, "description": function.__doc__, "parameters": schema}
    return {"type": "function", "function": described}


def call(wanted: ChatCompletionMessageToolCall) -> str:
    """Do what the model wants done; what goes wrong is for the model to know."""
    function = FUNCTIONS.get(wanted.function.name)
    if function is None:
        return f"there is no function {wanted.function.name}"
    try:
        # Arguments follow the schema, but an answer may have been cut off within them.
        result = function(**json.loads(wanted.function.arguments))
    except (ValueError, TypeError) as error:
        return f"that did not work: {error}"
    print(f"{wanted.function.name}({wanted.function.arguments}) -> {result}", file=sys.stderr)
    return result


def main() -> None:
    """Ask, do what is wanted, and ask again, until the model has only something to say."""
    client = openai.OpenAI(
        base_url=os.environ.get("OPENAI_BASE_URL", "http://127.0.0.1:8080/v1"),
        api_key=os.environ.get("OPENAI_API_KEY", "none"),
    )
    question = sys.argv[1] if len(sys.argv) > 1 else "Make it dark in the kitchen."
    messages: list[ChatCompletionMessageParam] = [{"role": "user", "content": question}]
    tools = [as_tool(function) for function in FUNCTIONS.values()]
    asked = {"model": "any", "tools": tools, "temperature": 0, "max_tokens": 200}
    for left in range(MOST_ROUNDS, -1, -1):
        # In the last round it has to say something.
        choice = "auto" if left else "none"
        answer = client.chat.completions.create(messages=messages, tool_choice=choice, **asked)
        said = answer.choices[0].message
        if not said.tool_calls:
            print(said.content)
            return
        messages.append(said.model_dump(exclude_none=True))
        for wanted in said.tool_calls:
            result = {"role": "tool", "tool_call_id": wanted.id, "content": call(wanted)}
            messages.append(result)


if __name__ == "__main__":
    main()
