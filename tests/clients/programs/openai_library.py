"""Asks by OpenAI's library, and prints what came: python openai_library.py URL FAILING_URL TEXTS"""

import json
import sys

import openai

URL, FAILING, TEXTS = sys.argv[1:]
CHAT = [{"role": "user", "content": "Tell me a story about a brave fox."}]
ASKED = {"model": "any", "messages": CHAT, "temperature": 0, "max_tokens": 16}
SCHEMA = {
    "type": "object",
    "properties": {"kind": {"enum": ["fox", "dog"]}},
    "required": ["kind"],
    "additionalProperties": False,
}
client = openai.OpenAI(base_url=URL, api_key="none", max_retries=0)
chat = client.chat.completions
told = {"version": openai.__version__}

whole = chat.create(**ASKED)
told["plain"] = whole.choices[0].message.content
told["usage"] = whole.usage.completion_tokens
chunks = list(chat.create(stream=True, stream_options={"include_usage": True}, **ASKED))
told["stream"] = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
told["stream_usage"] = chunks[-1].usage.completion_tokens
with chat.stream(**ASKED, stop=["."]) as stream:
    told["accumulated"] = stream.get_final_completion().choices[0].message.content
form = {"type": "json_schema", "json_schema": {"name": "animal", "schema": SCHEMA, "strict": True}}
shaped = chat.create(**{**ASKED, "max_tokens": 60}, response_format=form)
told["schema"] = json.loads(shaped.choices[0].message.content)
likely = chat.create(logprobs=True, top_logprobs=2, **ASKED).choices[0].logprobs.content
told["logprobs"] = "".join(token.token for token in likely)
told["n"] = len(chat.create(n=3, **ASKED).choices)
vectors = client.embeddings.create(model="any", input=json.loads(TEXTS))  # as base64
told["vectors"] = [one.embedding for one in vectors.data]
told["models"] = [model.id for model in client.models.list()]
try:
    chat.create(**{**ASKED, "temperature": -1})
except openai.BadRequestError as error:
    told["refused"] = error.code

# The first requests to this one fail: 429, 503, and then none.
patient = openai.OpenAI(base_url=FAILING, api_key="none", max_retries=2)
told["retried"] = patient.chat.completions.create(**ASKED).choices[0].message.content
print(json.dumps(told))
