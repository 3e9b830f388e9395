"""Asks by pydantic-ai, and prints what came as JSON: python pydantic_ai_library.py URL"""

import asyncio
import json
import sys

from pydantic import BaseModel
from pydantic_ai import Agent, NativeOutput
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider


class Animal(BaseModel):
    """One of those in the story."""

    legs: int


QUESTION = "Tell me a story about a brave fox."
model = OpenAIChatModel("any", provider=OpenAIProvider(base_url=sys.argv[1], api_key="none"))
settings = {"temperature": 0, "max_tokens": 16}


async def main():
    told = {"plain": (await Agent(model).run(QUESTION, model_settings=settings)).output}
    async with Agent(model).run_stream(QUESTION, model_settings=settings) as result:
        told["stream"] = await result.get_output()
    agent = Agent(model, output_type=NativeOutput(Animal))
    shaped = await agent.run(QUESTION, model_settings={**settings, "max_tokens": 60})
    told["schema"] = shaped.output.model_dump()
    return told


print(json.dumps(asyncio.run(main())))
