"""What a store tells of its making: read back as it was, and nothing else is believed."""

import json

import pytest

from pi_cluster.shard_tool.journal import SOURCE_NAME, read_origin, read_source, write_source
from pi_cluster.shard_tool.origin import IMATRIX, Origin, WeighedBy

WEIGHED_BY = WeighedBy(IMATRIX, "mistral.imatrix.gguf", "ab" * 32, tokens=4096)
ORIGIN = Origin("mistralai/Mistral-7B-v0.1", "0123456789abcdef" * 2 + "01234567", WEIGHED_BY)


@pytest.mark.parametrize("origin", [Origin("checkpoint"), Origin("m.gguf", "0123abc"), ORIGIN])
def test_an_origin_is_read_as_it_was_written(tmp_path, origin):
    write_source(tmp_path, "source", origin)
    assert (read_source(tmp_path), read_origin(tmp_path)) == ("source", origin)


@pytest.mark.parametrize(
    "values",
    [
        None,
        {},
        {"checkpoint": "c"},
        {"checkpoint": "", "commit": None, "weighed_by": None},
        {"checkpoint": "c" * 201, "commit": None, "weighed_by": None},
        {"checkpoint": "\x1b[2J", "commit": None, "weighed_by": None},
        {"checkpoint": 7, "commit": None, "weighed_by": None},
        {"checkpoint": "c", "commit": "master", "weighed_by": None},
        {"checkpoint": "c", "commit": 1234567, "weighed_by": None},
        {"checkpoint": "c", "commit": None, "weighed_by": {"file_name": "f"}},
        *(
            {"checkpoint": "c", "commit": None}
            | {"weighed_by": ORIGIN.to_dict()["weighed_by"] | changed}
            for changed in (
                {"file_name": "a\nb"},
                {"sha256": "AB" * 32},
                {"kind": "guess"},
                {"kind": ["imatrix"]},
                {"tokens": -1},
                {"tokens": True},
                {"more": 1},
            )
        ),
    ],
    ids=str,
)
def test_what_is_no_origin_is_none(tmp_path, values):
    (tmp_path / SOURCE_NAME).write_text(json.dumps({"source": "source", "origin": values}))
    assert read_origin(tmp_path) is None
    assert read_source(tmp_path) == "source"  # nor does a rerun take the store for another one


def test_a_store_that_says_nothing_has_no_origin(tmp_path):
    assert read_origin(tmp_path) is None
    (tmp_path / SOURCE_NAME).write_text(json.dumps({"source": "source"}))
    assert read_origin(tmp_path) is None
