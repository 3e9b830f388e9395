"""The examples of docs/python-api.md, each a program of its own, against a real pipeline."""

import re
import sys

import pytest

from tests.support.own_sources import ROOT

PAGE = (ROOT / "docs" / "python-api.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


@pytest.fixture
def default(story):
    """The shared pipeline, as if its cluster were called ``default``."""
    state = story.folder / "state" / "pi-cluster"
    (state / "default").symlink_to(state / story.name)
    yield story
    (state / "default").unlink()


def test_the_page_has_its_examples():
    assert len(EXAMPLES) == PAGE.count("```python") >= 8


@pytest.mark.parametrize(
    "example", EXAMPLES, ids=[f"example {n}" for n in range(1, len(EXAMPLES) + 1)]
)
def test_an_example_runs_as_it_stands(default, example):
    outcome = default.start_program([sys.executable, "-c", example]).end(90)
    assert outcome.code == 0, outcome
    assert outcome.err == ""
    if "print(" in example:
        assert outcome.out
