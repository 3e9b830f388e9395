"""The text that `eval` reads, and what is no such text."""

import io
import sys
from pathlib import Path

import pytest

from pi_cluster.deploy.evaluating import given_text as module
from pi_cluster.deploy.evaluating.given_text import given_text
from pi_cluster.transformer.errors import PromptError


def test_a_text_is_taken_as_it_stands(tmp_path, monkeypatch):
    text = "\ufeffé\r\n\n"
    (tmp_path / "text").write_bytes(text.encode())
    assert given_text(tmp_path / "text") == text
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    assert given_text(Path("-")) == text


@pytest.mark.parametrize(
    ("data", "said"),
    [(b"", "is empty"), (b"ab\xff", "is not UTF-8 at byte 2"), (b"abcdef", "more than 5 bytes")],
)
def test_what_is_no_text_is_refused_by_name(tmp_path, monkeypatch, data, said):
    monkeypatch.setattr(module, "MOST_BYTES", 5)
    (tmp_path / "text").write_bytes(data)
    with pytest.raises(PromptError, match=rf"/text .*{said}"):
        given_text(tmp_path / "text")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    with pytest.raises(PromptError, match=f"^standard input .*{said}"):
        given_text(Path("-"))


def test_a_file_that_is_not_there_is_named(tmp_path):
    for path, said in ((tmp_path / "gone", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(PromptError, match=f"cannot read {path}: {said}"):
            given_text(path)
