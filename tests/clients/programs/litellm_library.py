"""Asks by litellm, and prints what came as JSON: python litellm_library.py URL TEXTS"""

import json
import sys

import litellm

CHAT = [{"role": "user", "content": "Tell me a story about a brave fox."}]
ASKED = {
    **{"model": "openai/any", "messages": CHAT, "api_base": sys.argv[1], "api_key": "none"},
    **{"temperature": 0, "max_tokens": 16, "num_retries": 0},
}
told = {"plain": litellm.completion(**ASKED).choices[0].message.content}
chunks = list(litellm.completion(stream=True, **ASKED))
told["stream"] = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
told["finish"] = chunks[-1].choices[0].finish_reason
whole = litellm.stream_chunk_builder(chunks)
told["rebuilt"] = whole.choices[0].message.content
asked = {name: ASKED[name] for name in ("model", "api_base", "api_key")}
texts = json.loads(sys.argv[2])
vectors = litellm.embedding(input=texts, encoding_format="float", **asked)
told["vectors"] = [one["embedding"] for one in vectors.data]
print(json.dumps(told))
