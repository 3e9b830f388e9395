"""Asks by langchain-openai, and prints what came as JSON: python langchain_library.py URL TEXTS"""

import json
import sys

from langchain_openai import ChatOpenAI, OpenAI, OpenAIEmbeddings
from pydantic import BaseModel


class Animal(BaseModel):
    """One of those in the story."""

    legs: int


QUESTION = "Tell me a story about a brave fox."
ASKED = {"base_url": sys.argv[1], "api_key": "none", "model": "any", "temperature": 0}
chat = ChatOpenAI(**ASKED, max_tokens=16, max_retries=0)
told = {"plain": chat.invoke(QUESTION).content}
pieces = list(chat.stream(QUESTION, stream_usage=True))
told["stream"] = "".join(piece.content for piece in pieces)
told["usage"] = sum(p.usage_metadata["output_tokens"] for p in pieces if p.usage_metadata)
longer = ChatOpenAI(**ASKED, max_tokens=60, max_retries=0)
shaped = longer.with_structured_output(Animal, method="json_schema").invoke(QUESTION)
told["schema"] = shaped.model_dump()
likely = chat.bind(logprobs=True).invoke(QUESTION).response_metadata["logprobs"]["content"]
told["logprobs"] = "".join(token["token"] for token in likely)
told["completion"] = OpenAI(**ASKED, max_tokens=16, max_retries=0).invoke("Once upon a time")
# Else it would send ids of a tokenizer of OpenAI's.
embeddings = OpenAIEmbeddings(
    base_url=ASKED["base_url"], api_key="none", model="any", check_embedding_ctx_length=False
)
told["vectors"] = embeddings.embed_documents(json.loads(sys.argv[2]))
print(json.dumps(told))
