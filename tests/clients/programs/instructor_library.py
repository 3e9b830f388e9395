"""Asks by instructor, and prints what came as JSON: python instructor_library.py URL"""

import json
import sys

import instructor
import openai
from pydantic import BaseModel


class Animal(BaseModel):
    """One of those in the story."""

    legs: int


client = instructor.from_openai(
    openai.OpenAI(base_url=sys.argv[1], api_key="none"), mode=instructor.Mode.JSON_SCHEMA
)
animal = client.chat.completions.create(
    model="any",
    messages=[{"role": "user", "content": "Tell me a story about a brave fox."}],
    response_model=Animal,
    max_retries=0,
    temperature=0,
    max_tokens=60,
)
print(json.dumps({"schema": animal.model_dump()}))
