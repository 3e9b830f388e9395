"""``bench`` in its three formats, with several users, and its traces, over three real workers."""

import csv
import io
import itertools
import json
import re
from collections import defaultdict
from xml.etree import ElementTree

import pytest

NODES = ["local-1", "local-2", "local-3"]
WORDS = ("bench", "--prompt-tokens", "32", "--gen-tokens", "8", "--repeat", "2")


def numbers(value):
    """Every number in parsed JSON."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [number for item in value for number in numbers(item)]
    return [value] if isinstance(value, int | float) else []


def printed(story, *words):
    outcome = story.run(*WORDS, "--format", *words)
    assert outcome.code == 0 and "Traceback" not in outcome.err
    return outcome.out


def cells_of(table):
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]


def test_json_has_a_row_for_each_test_with_every_stage(story):
    rows = json.loads(printed(story, "json", "--draft", "off"))
    assert [(row["test"], row["users"]) for row in rows] == [("pp32", 1), ("tg8", 1)]
    layers = [stage["layers"] for stage in story.status()["stages"]]
    for row in rows:
        assert [stage["node"] for stage in row["stages"]] == NODES
        assert [stage["layers"] for stage in row["stages"]] == layers
        assert row["tokens_per_second"]["mean"] > 0 and row["ttft_ms"]["p50"] > 0
        assert all(stage["compute_ms"] > 0 for stage in row["stages"])
        assert all(0 < stage["busy"] <= 1 for stage in row["stages"])
    assert min(numbers(rows)) >= 0
    assert rows[0]["hop_ms"] is None and rows[1]["hop_ms"]["mean"] > 0
    assert rows[0]["itl_ms"] is None and rows[1]["itl_ms"]["p95"] > 0


def test_csv_has_a_line_for_each_test_and_stage(story):
    lines = list(csv.DictReader(io.StringIO(printed(story, "csv", "--draft", "off"))))
    assert [line["test"] for line in lines] == ["pp32"] * 3 + ["tg8"] * 3
    assert [line["node"] for line in lines] == NODES * 2
    figures = [
        float(value)
        for line in lines
        for name, value in line.items()
        if name not in ("test", "node", "layers") and value
    ]
    assert len(figures) == 6 * 12 - 3 * 3 and min(figures) >= 0


def test_markdown_tables_name_tests_and_stages(story):
    blocks = printed(story, "md").strip().split("\n\n")
    tests, stages = map(cells_of, blocks[:2])
    assert tests[0] == [
        *("test", "users", "tokens/s", "tokens/s a user"),
        *("TTFT ms p50 / p95", "ITL ms p50 / p95", "hop ms"),
    ]
    assert [row[:2] for row in tests[2:]] == [["pp32", "1"], ["tg8", "1"]]
    assert all("±" in row[2] and not row[2].startswith("-") for row in tests[2:])
    assert stages[0][-1] == "busy" and [row[2] for row in stages[2:]] == NODES * 2
    assert min(float(cell) for row in stages[2:] for cell in row[4:6]) >= 0
    for line in "\n".join(blocks[2:]).splitlines():
        assert re.fullmatch(r"tg8: by (n-gram|recycled-[123]), \d+ % of \d+ guesses right", line)


def test_users_are_served_together_and_drawn(story, tmp_path):
    picture = tmp_path / "steps.svg"
    rows = json.loads(printed(story, "json", "--users", "1,3", "--trace", str(picture)))
    assert [(row["test"], row["users"]) for row in rows] == [("pp32+tg8", 1), ("pp32+tg8", 3)]
    for row in rows:
        assert row["user_tokens_per_second"]["mean"] > 0
        assert 0 <= row["itl_ms"]["p50"] <= row["itl_ms"]["p95"]
        assert 0 < row["ttft_ms"]["p50"] <= row["ttft_ms"]["p95"]
    root = ElementTree.parse(picture).getroot()
    words = [element.text for element in root.iter() if element.text]
    assert set(NODES) <= set(words) and "pp32+tg8, 3 users" in words


def test_a_trace_has_every_step_of_every_run_and_no_overlaps(story, tmp_path):
    trace = tmp_path / "steps.json"
    printed(story, "csv", "--users", "1,3", "--depth", "40", "--trace", str(trace))
    slices = [e for e in json.loads(trace.read_text())["traceEvents"] if e["ph"] == "X"]
    assert {(e["args"]["users"], e["args"]["run"]) for e in slices} == {
        *((1, 1), (1, 2), (3, 1), (3, 2))
    }
    prompts = [e["args"]["prompt_rows"] for e in slices if e["pid"] == 2]
    assert sum(prompts) == 2 * 32 + 2 * 3 * 32, "all of each prompt, and nothing of its depth"
    tracks = defaultdict(list)
    for event in slices:
        began_ns = round(event["ts"] * 1000)
        ended_ns = began_ns + round(event["dur"] * 1000)
        tracks[event["pid"], event["tid"]].append((began_ns, ended_ns))
    assert {process for process, _ in tracks} == {1, 2, 3, 4}
    for spans in tracks.values():
        assert all(one[1] <= other[0] for one, other in itertools.pairwise(sorted(spans)))


def test_at_a_depth_the_prompt_before_is_not_measured(story):
    rows = json.loads(printed(story, "json", "--depth", "100"))
    assert [row["test"] for row in rows] == ["pp32 @ d100", "tg8 @ d100"]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--users", "0"), 2, "--users"),
        (("--users", "2,,3"), 2, "1,2,4,8"),
        (("--users", "129"), 1, "128 texts"),
        (("--users", "5", "--prompt-tokens", "5000"), 1, "--texts 5"),
        (("--depth", "-1"), 2, "--depth"),
        (("--depth", "3"), 1, "depth is 3"),
        (("--trace", "steps.png"), 2, "neither in .json (Perfetto) nor in .svg"),
        (("--trace", "/nowhere/steps.svg"), 2, "there is no folder '/nowhere'"),
    ],
)
def test_what_cannot_be_measured_is_refused_by_name(story, words, code, said):
    outcome = story.call(*WORDS, *words)
    assert (outcome.code, outcome.out) == (code, "")
    assert said in " ".join(outcome.err.split())
