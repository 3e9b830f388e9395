"""The clients that people use get from a real server what the command says."""

import json

import pytest

from tests.support.asking import FOX


@pytest.mark.parametrize("environment", ["openai-new", "openai-old"])
def test_the_openai_library_of_today_and_of_last_year(
    served, failing, said, vectors, told_by, environment
):
    texts, are_right = vectors
    told = told_by(environment, "openai_library.py", f"{served.url}/v1", failing, texts)
    assert are_right(told["vectors"])
    same = ("plain", "stream", "logprobs", "retried")
    assert {name: told[name] for name in same} == dict.fromkeys(same, said)
    assert told["accumulated"] == said.partition(".")[0]
    assert (told["usage"], told["stream_usage"], told["n"]) == (16, 16, 3)
    assert told["schema"]["kind"] in ("fox", "dog")
    assert told["models"] == ["storyteller"] and told["refused"] == "invalid_value"


def test_langchain(served, said, vectors, told_by):
    texts, are_right = vectors
    told = told_by("frameworks", "langchain_library.py", f"{served.url}/v1", texts)
    assert are_right(told["vectors"])
    assert told["plain"] == told["stream"] == told["logprobs"] == said
    assert told["usage"] == 16 and isinstance(told["schema"]["legs"], int)
    assert told["completion"]


def test_litellm(served, said, vectors, told_by):
    texts, are_right = vectors
    told = told_by("frameworks", "litellm_library.py", f"{served.url}/v1", texts)
    assert are_right(told["vectors"])
    assert told["plain"] == told["stream"] == told["rebuilt"] == said
    assert told["finish"] == "length"


def test_pydantic_ai(served, said, told_by):
    told = told_by("frameworks", "pydantic_ai_library.py", f"{served.url}/v1")
    assert told["plain"] == told["stream"] == said
    assert isinstance(told["schema"]["legs"], int)


def test_instructor(served, told_by):
    told = told_by("frameworks", "instructor_library.py", f"{served.url}/v1")
    assert isinstance(told["schema"]["legs"], int)


def test_the_llm_command(served, said, python_with, run, tmp_path):
    model = f"- model_id: pi\n  model_name: any\n  api_base: {served.url}/v1\n"
    (tmp_path / "extra-openai-models.yaml").write_text(model)
    llm = python_with("frameworks") / "llm"
    asked = (llm, "-m", "pi", FOX, "-o", "temperature", "0", "-o", "max_tokens", "16", "--no-log")
    for more in ((), ("--no-stream",)):
        assert run(*asked, "--key", "none", *more, LLM_USER_PATH=str(tmp_path)).strip() == said


def test_the_openai_library_for_node(served, said, vectors, node_program, run):
    texts, are_right = vectors
    program = node_program("node_library.mjs")
    told = json.loads(run("node", program, f"{served.url}/v1", texts))
    assert are_right(told["vectors"])
    assert told["plain"] == told["stream"] == told["accumulated"] == said
    assert told["usage"] == 16 and told["refused"] == "invalid_value"


def test_the_api_keeps_to_its_own_document(served, python_with, run, tmp_path):
    schemathesis = python_with("schemathesis") / "schemathesis"
    run(
        *(schemathesis, "run", f"{served.url}/openapi.json", "--max-examples", "15"),
        *("--seed", "1", "--checks", "not_a_server_error,response_schema_conformance"),
        *("--include-path-regex", "^/(v1/|tokenize|detokenize|apply-template)"),
        *("--exclude-path-regex", "responses", "--workers", "1", "--request-timeout", "60"),
    )
