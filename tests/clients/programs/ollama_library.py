"""Asks by Ollama's library, and prints what came as JSON: python ollama_library.py URL TEXTS"""

import asyncio
import json
import sys

import ollama
from pydantic import BaseModel


class Animal(BaseModel):
    """One of those in the story."""

    legs: int


def turn_on(name: str) -> str:
    """Turn a lamp on.

    Args:
        name: which one
    """
    return f"{name} is on"


QUESTION = [{"role": "user", "content": "Tell me a story about a brave fox."}]
client = ollama.Client(sys.argv[1])
model = client.list().models[0].model
asked = {"model": model, "messages": QUESTION, "options": {"temperature": 0, "num_predict": 16}}
longer = {**asked, "options": {"temperature": 0, "num_predict": 200}}
told = {"model": model, "loaded": [one.model for one in client.ps().models]}

whole = client.chat(**asked)
told["plain"], told["usage"] = whole.message.content, whole.eval_count
told["stream"] = "".join(part.message.content for part in client.chat(**asked, stream=True))
said = {"model": model, "prompt": QUESTION[0]["content"], "options": asked["options"]}
told["generate"] = client.generate(**said).response
told["generate_stream"] = "".join(part.response for part in client.generate(**said, stream=True))
told["logprobs"] = "".join(one.token for one in client.chat(**asked, logprobs=True).logprobs)

shaped = client.chat(**longer, format=Animal.model_json_schema()).message.content
told["schema"] = Animal.model_validate_json(shaped).model_dump()
answer = client.chat(**longer, tools=[turn_on]).message
told["tools"] = [call.function.name for call in answer.tool_calls or ()]
if answer.tool_calls:
    results = [
        {"role": "tool", "tool_name": call.function.name, "content": turn_on("lamp")}
        for call in answer.tool_calls
    ]
    again = {**longer, "messages": [*QUESTION, answer, *results]}
    client.chat(**again, tools=[turn_on])

texts = json.loads(sys.argv[2])
told["vectors"] = client.embed(model=model, input=texts).embeddings
told["old_vectors"] = [client.embeddings(model=model, prompt=text).embedding for text in texts]
told["load"] = client.generate(model=model, keep_alive=-1).done_reason
told["pull"] = client.pull(model).status
told["able"] = client.show(model).capabilities
for name, wrong in {"missing": {"model": "llama3"}, "refused": {"think": True}}.items():
    try:
        client.chat(**{**asked, **wrong})
    except ollama.ResponseError as error:
        told[name] = [error.status_code, error.error]


async def streamed() -> str:
    """The same from many requests at once, as Home Assistant's integration asks."""
    other = ollama.AsyncClient(sys.argv[1])
    stream = await other.chat(**asked, stream=True, keep_alive=-1, think=False)
    return "".join([part.message.content async for part in stream])


async def all_streamed() -> list[str]:
    """Four of them."""
    return await asyncio.gather(*(streamed() for _ in range(4)))


told["at_once"] = asyncio.run(all_streamed())
print(json.dumps(told))
