"""Asks by langchain-ollama, prints what came as JSON: langchain_ollama_library.py URL TEXTS"""

import json
import sys

from langchain_core.tools import tool
from langchain_ollama import ChatOllama, OllamaEmbeddings, OllamaLLM
from pydantic import BaseModel


class Animal(BaseModel):
    """One of those in the story."""

    legs: int


@tool
def turn_on(name: str) -> str:
    """Turn a lamp on."""
    return f"{name} is on"


QUESTION = "Tell me a story about a brave fox."
ASKED = {"base_url": sys.argv[1], "model": "storyteller", "temperature": 0}
chat = ChatOllama(**ASKED, num_predict=16, validate_model_on_init=True)
told = {"plain": chat.invoke(QUESTION).content}
pieces = list(chat.stream(QUESTION))
told["stream"] = "".join(piece.content for piece in pieces)
told["usage"] = sum(p.usage_metadata["output_tokens"] for p in pieces if p.usage_metadata)
longer = ChatOllama(**ASKED, num_predict=200)
shaped = longer.with_structured_output(Animal, method="json_schema").invoke(QUESTION)
told["schema"] = shaped.model_dump()
answer = longer.bind_tools([turn_on]).invoke(QUESTION)
told["tools"] = [call["name"] for call in answer.tool_calls]
told["text"] = OllamaLLM(**ASKED, num_predict=16).invoke(QUESTION)
embeddings = OllamaEmbeddings(base_url=ASKED["base_url"], model=ASKED["model"])
told["vectors"] = embeddings.embed_documents(json.loads(sys.argv[2]))
print(json.dumps(told))
