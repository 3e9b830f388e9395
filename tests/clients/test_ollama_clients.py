"""Ollama's clients get from a real server what the command says."""

import json

MODEL = "storyteller:latest"


def test_the_ollama_library(served, said, vectors, told_by):
    texts, are_right = vectors
    told = told_by("ollama", "ollama_library.py", served.url, texts)
    assert are_right(told["vectors"]) and are_right(told["old_vectors"])
    same = ("plain", "stream", "generate", "generate_stream", "logprobs")
    assert {name: told[name] for name in same} == dict.fromkeys(same, said)
    assert told["at_once"] == [said] * 4
    assert (told["model"], told["loaded"], told["usage"]) == (MODEL, [MODEL], 16)
    assert isinstance(told["schema"]["legs"], int)
    assert set(told["tools"]) <= {"turn_on"}  # it calls it or not, and nothing else
    assert (told["load"], told["pull"]) == ("load", "success")
    assert told["able"] == ["completion", "tools"]
    assert told["missing"] == [404, "model 'llama3' not found"]
    assert told["refused"] == [400, f'"{MODEL}" does not support thinking']


def test_langchain_ollama(served, said, vectors, told_by):
    texts, are_right = vectors
    told = told_by("ollama", "langchain_ollama_library.py", served.url, texts)
    assert are_right(told["vectors"])
    assert told["plain"] == told["stream"] == told["text"] == said
    assert told["usage"] == 16 and isinstance(told["schema"]["legs"], int)
    assert set(told["tools"]) <= {"turn_on"}


def test_the_ollama_library_for_node(served, said, vectors, node_program, run):
    texts, are_right = vectors
    told = json.loads(run("node", node_program("node_ollama.mjs"), served.url, texts))
    assert are_right(told["vectors"])
    assert told["plain"] == told["stream"] == told["generate"] == said
    assert (told["model"], told["usage"]) == (MODEL, 16)
    assert told["able"] == ["completion", "tools"]
    assert "does not support thinking" in told["refused"]
