"""Pictures of who worked when: well-formed, escaped, bounded in size, nothing overlapping."""

import itertools
import json
from collections import defaultdict
from xml.etree import ElementTree

import pytest

from pi_cluster.coordinator.bench.chrome_trace import chrome_trace
from pi_cluster.coordinator.bench.gantt import gantt
from tests.support.steps import ADDRESSES, many_steps, run_of

SVG = "{http://www.w3.org/2000/svg}"


def drawn(count, addresses=ADDRESSES):
    text = gantt(run_of(many_steps(count)), addresses)
    return text, ElementTree.fromstring(text)


def boxes(root, kind):
    return [box for box in root.iter(f"{SVG}rect") if box.get("class") == kind]


def test_every_step_has_a_slice_at_each_node_and_in_flight():
    values = json.loads(chrome_trace([run_of(many_steps(30))], ADDRESSES))
    names = [e["args"]["name"] for e in values["traceEvents"] if e["ph"] == "M"]
    assert names == ["coordinator", f"{ADDRESSES[0].name}, layers 0:3", "pi2, layers 3:5"]
    slices = [event for event in values["traceEvents"] if event["ph"] == "X"]
    by_process = defaultdict(list)
    for event in slices:
        by_process[event["pid"]].append(event["args"]["step"])
    assert sorted(by_process) == [1, 2, 3]
    assert all(sorted(steps) == list(range(1, 31)) for steps in by_process.values())
    assert {event["name"] for event in slices} == {"prefill", "decode", "guesses"}
    assert slices[0]["args"] == {
        **{"step": 1, "rows": 16, "prompt_rows": 16, "guessed_rows": 0},
        **{"test": "pp8+tg4", "users": 2, "run": 1},
    }


def test_slices_of_one_track_never_overlap():
    runs = [run_of(many_steps(50))]
    tracks = defaultdict(list)
    for event in json.loads(chrome_trace(runs, ADDRESSES))["traceEvents"]:
        if event["ph"] == "X":
            began_ns = round(event["ts"] * 1000)
            ended_ns = began_ns + round(event["dur"] * 1000)
            tracks[event["pid"], event["tid"]].append((began_ns, ended_ns))
    assert len(tracks) > 3, "several steps are in flight at once"
    for spans in tracks.values():
        spans.sort()
        assert spans[0][0] >= 0 and all(began < ended for began, ended in spans)
        assert all(one[1] <= other[0] for one, other in itertools.pairwise(spans))


def test_no_runs_make_an_empty_trace():
    events = json.loads(chrome_trace([], ADDRESSES))["traceEvents"]
    assert {event["ph"] for event in events} == {"M"}


def test_the_picture_has_a_row_for_each_node_and_colours_for_what_steps_carry():
    text, root = drawn(20)
    assert "\x00" not in text and "all steps, " in text
    labels = [element.text for element in root.iter(f"{SVG}text")]
    assert r"pi<1> & \u0000 a …" in labels and "pi2" in labels
    assert any(label.startswith("3:5, ") and label.endswith(" % busy") for label in labels)
    assert "pp8+tg4, 2 users" in labels
    assert len(boxes(root, "flight")) == 20
    # Two nodes, of five steps 2 with prompts, 3 with rows that are certain, 3 with guesses; and
    # one box each in the legend.
    counts = [len(boxes(root, kind)) for kind in ("prefill", "decode", "guesses")]
    assert counts == [1 + 2 * 8, 1 + 2 * 12, 1 + 2 * 12]


def test_boxes_lie_within_the_picture():
    _, root = drawn(60)
    wide, high = float(root.get("width")), float(root.get("height"))
    for kind in ("flight", "prefill", "decode", "guesses"):
        for box in boxes(root, kind):
            x, y, width, height = (float(box.get(n)) for n in ("x", "y", "width", "height"))
            assert min(x, y) >= 0 and min(width, height) > 0
            assert x + width <= wide and y + height <= high


@pytest.mark.parametrize("stages", [2, 64])
def test_of_many_steps_only_the_last_are_drawn_and_it_says_so(stages):
    steps = many_steps(3000)
    if stages > 2:
        steps = [_widened(step, stages // 2) for step in steps]
    text = gantt(run_of(steps), ADDRESSES * (stages // 2))
    ElementTree.fromstring(text)
    assert "of 3000 steps" in text and len(text) < 200_000


def _widened(record, times):
    result = record.result
    return record.__class__(
        *(record.sent_s, record.received_s, record.rows, record.guessed_rows, record.prompt_rows),
        result.__class__(result.step, (), result.stages * times),
    )


def test_a_run_in_which_nothing_came_back_still_is_a_picture():
    text, _ = drawn(0)
    assert "no step came back" in text
