"""Prompts and settings that cannot be served: one sentence, exit code 1 or 2, nothing printed."""

import pytest

TEXT = "Tell me a story."


@pytest.mark.parametrize(
    ("words", "stdin", "named"),
    [
        (("",), b"", "empty"),
        (("--ids", ""), b"", "empty"),
        (("-",), b"", "empty"),
        (("--ids", "1,2048"), b"", "2048"),
        (("--ids", "1,-1"), b"", "-1"),
        (("--ids", "1,99999999999999999999"), b"", "99999999999999999999"),
        (("--ids", "1,fox"), b"", "fox"),
        (("--ids", "1,,2"), b"", "--ids"),
        (("-",), b"one fine day \xff\xfe", "byte 13"),
        ((TEXT, "--temperature", "nan"), b"", "temperature"),
        ((TEXT, "--temperature", "-1"), b"", "temperature"),
        ((TEXT, "--top-p", "nan"), b"", "top_p"),
        ((TEXT, "--top-p", "-0.5"), b"", "top_p"),
        ((TEXT, "--top-k", "-1"), b"", "top_k"),
        ((TEXT, "--min-p", "inf"), b"", "min_p"),
        ((TEXT, "--repeat-penalty", "0"), b"", "repeat_penalty"),
        ((TEXT, "--repeat-penalty", "nan"), b"", "repeat_penalty"),
        ((TEXT, "--seed", "-1"), b"", "seed"),
        ((TEXT, "--max-tokens", "0"), b"", "max-tokens"),
        ((TEXT, "--chunk-size", "0"), b"", "chunk-size"),
        ((TEXT, "--chunk-size", "513"), b"", "512"),
        ((TEXT, "--stop", ""), b"", "stop"),
    ],
)
def test_a_prompt_that_cannot_be_served_names_what_is_wrong_with_it(story, words, stdin, named):
    is_piped = words[0] == "-"
    outcome = story.run("prompt", "-", stdin=stdin) if is_piped else story.call("prompt", *words)
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.startswith("error: ") and named in outcome.err
    assert "Traceback" not in outcome.err and "internal" not in outcome.err


@pytest.mark.parametrize(
    "words",
    [
        (TEXT, "--ids", "1,2"),
        (),
        (TEXT, "--temperature", "warm"),
        (TEXT, "--no-such-option"),
        (TEXT, "another text"),
    ],
)
def test_wrong_usage_exits_with_2_and_tells_where_help_is(story, words):
    outcome = story.run("prompt", *words)
    assert (outcome.code, outcome.out) == (2, "")
    assert "Usage:" in outcome.err and "--help" in outcome.err


def test_a_bad_prompt_leaves_the_pipeline_ready(story):
    assert story.run("prompt", "--ids", "1,2048").code == 1
    assert len(story.prompt("--ids", "1,2047", "--max-tokens", "2")["ids"]) == 2
