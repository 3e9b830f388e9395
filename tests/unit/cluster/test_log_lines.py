"""Lines of logs: one object each in JSON, harmless in both forms, and only what may be told."""

import json
import logging
import sys

import pytest

from pi_cluster.cluster.log_fields import FIELDS, LogFields
from pi_cluster.cluster.log_lines import JsonLines, ReticentTextLines, TextLines
from tests.support.hostile import HOSTILE, steering

SECRET = "the fox is afraid of the dark"


def record(text, *given, about=None, error=None):
    """A record as a logger makes it."""
    logger = logging.getLogger("pi_cluster.tests")
    exc_info = (type(error), error, error.__traceback__) if error else None
    return logger.makeRecord(
        logger.name, logging.WARNING, __file__, 1, text, given, exc_info, extra=about
    )


def failure(text):
    try:
        raise KeyError(text)
    except KeyError as error:
        return error


def test_an_object_says_when_how_grave_whose_and_what():
    made = record("%d of %s", 3, "pi2")
    told = json.loads(JsonLines().format(made))
    assert told.pop("unix_s") == pytest.approx(made.created, abs=1e-5)
    assert told == {"level": "warning", "logger": "pi_cluster.tests", "message": "3 of pi2"}


def test_fields_stand_beside_the_message_as_what_they_are_and_others_do_not():
    about = LogFields(epoch=3, session="ab", sequence=0, step=7, node="pi2", caller="pi1")
    told = json.loads(JsonLines({"node": "pi9"}).format(record("x", about=about | {"key": SECRET})))
    assert {name: told[name] for name in about} == about and "key" not in told
    told = json.loads(JsonLines({"node": "pi9"}).format(record("epoch=3 step=7")))
    assert (told["node"], set(told) & set(FIELDS)) == ("pi9", {"node"})


def test_a_field_has_no_name_that_a_record_of_the_log_has_already():
    assert not set(FIELDS) & set(record("x").__dict__) - {"message"}


@pytest.mark.parametrize("lines", [TextLines(), JsonLines()], ids=["text", "json"])
def test_strangers_cannot_steer_a_terminal_or_fake_a_line(lines):
    text = HOSTILE + '\n{"level": "info"}\n\udcff'
    written = lines.format(record("%s", text, about=LogFields(node=text, caller=text)))
    assert steering(written) == [] and written.count("\n") == 0
    written.encode()
    if isinstance(lines, JsonLines):
        told = json.loads(written)
        assert told["message"] == told["node"] == told["caller"] == text


def test_a_line_is_bounded_whatever_it_tells():
    long = "x" * 1_000_000
    written = JsonLines().format(record("%s", long, about=LogFields(path=long)))
    assert len(written) < 10_000 and json.loads(written)["path"] in long


def test_an_exception_is_told_by_kind_and_place_and_its_message_where_it_is_no_users():
    error = failure(SECRET)
    told = json.loads(JsonLines().format(record("failed", error=error)))
    assert (told["error"], told["message"]) == ("KeyError", "failed") and SECRET in told["reason"]
    assert "in failure" in told["places"][-1] and __file__ in told["places"][-1]
    for lines in (JsonLines(reticent=True), ReticentTextLines()):
        written = lines.format(record("failed", error=error))
        assert SECRET not in written and "KeyError" in written and "in failure" in written


def test_an_exception_without_an_exception_is_none():
    made = record("x")
    made.exc_info = (None, None, None)
    assert "error" not in json.loads(JsonLines().format(made))
    assert sys.exc_info() == (None, None, None)
