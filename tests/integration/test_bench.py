"""``bench`` in its three formats over three real workers."""

import csv
import io
import json

NODES = ["local-1", "local-2", "local-3"]
WORDS = ("bench", "--prompt-tokens", "32", "--gen-tokens", "8", "--repeat", "2", "--format")


def numbers(value):
    """Every number in parsed JSON."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [number for item in value for number in numbers(item)]
    return [value] if isinstance(value, int | float) else []


def printed(story, style):
    outcome = story.run(*WORDS, style)
    assert outcome.code == 0 and "Traceback" not in outcome.err
    return outcome.out


def test_json_has_a_row_for_each_test_with_every_stage(story):
    rows = json.loads(printed(story, "json"))
    assert [row["test"] for row in rows] == ["pp32", "tg8"]
    layers = [stage["layers"] for stage in story.status()["stages"]]
    for row in rows:
        assert [stage["node"] for stage in row["stages"]] == NODES
        assert [stage["layers"] for stage in row["stages"]] == layers
        assert row["tokens_per_second"]["mean"] > 0 and row["ttft_ms"]["mean"] > 0
        assert all(stage["compute_ms"] > 0 for stage in row["stages"])
    assert min(numbers(rows)) >= 0
    assert rows[0]["hop_ms"] is None and rows[1]["hop_ms"]["mean"] > 0


def test_csv_has_a_line_for_each_test_and_stage(story):
    lines = list(csv.DictReader(io.StringIO(printed(story, "csv"))))
    assert [line["test"] for line in lines] == ["pp32"] * 3 + ["tg8"] * 3
    assert [line["node"] for line in lines] == NODES * 2
    figures = [
        float(value)
        for line in lines
        for name, value in line.items()
        if name not in ("test", "node", "layers") and value
    ]
    assert len(figures) == 6 * 6 - 3 and min(figures) >= 0


def test_markdown_tables_name_tests_and_stages(story):
    tests, stages = printed(story, "md").strip().split("\n\n")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in tests.splitlines()]
    assert rows[0] == ["test", "tokens/s", "TTFT ms", "hop ms"]
    assert [row[0] for row in rows[2:]] == ["pp32", "tg8"]
    assert all("±" in row[1] and not row[1].startswith("-") for row in rows[2:])
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in stages.splitlines()[2:]]
    assert [row[1] for row in rows] == NODES * 2
    assert min(float(cell) for row in rows for cell in row[3:]) >= 0
