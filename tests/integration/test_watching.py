"""``status --watch``: look after look, at a terminal and in a pipe, until Ctrl-C."""

import json
import signal

from tests.support.cluster_process import eventually
from tests.support.terminal import Terminal

LOOK = ("status", "--watch", "--interval", "0.1")


def test_in_a_pipe_every_look_is_a_line_and_ctrl_c_ends_it(story):
    running = story.start(*LOOK)
    first, second = running.read_lines(2)
    for line in (first, second):
        assert all(name in line for name in ("local-1 0:", "local-2 ", "local-3 ", "ready"))
    assert "tokens/s" not in first and "0.0 tokens/s" in second  # a rate takes two looks
    running.send(signal.SIGINT)
    outcome = running.end()
    assert outcome.code == 130 and "interrupted" in outcome.err
    assert "Traceback" not in outcome.err and "internal" not in outcome.err


def test_as_json_every_look_is_an_object_with_the_rate_of_a_prompt_that_runs(story, endless):
    before = {stage["node"]: stage["rows"] for stage in story.status()["stages"]}
    asking = story.start("prompt", *endless, "--max-tokens", "100000")
    asking.read(1)
    watching = story.start(*LOOK, "--json")
    looks = [json.loads(line) for line in watching.read_lines(12)]
    watching.send(signal.SIGINT)
    assert watching.end().code == 130
    asking.stop()
    assert looks[0]["rows_ps"] is None
    assert max(look["rows_ps"] for look in looks[1:]) > 0
    for number, stage in enumerate(looks[-1]["stages"]):
        assert stage["state"] == "busy" and "@" in stage["coordinator"]
        assert stage["rows"] > looks[0]["stages"][number]["rows"] > before[stage["node"]]
        assert stage["memory_bytes"] > stage["free_memory_bytes"] > 0


def test_rows_are_counted_over_sessions_at_every_stage_alike(cluster):
    cluster.up("--local", "2")

    def rows():
        return [stage["rows"] for stage in cluster.status()["stages"]]

    asked = ("--ids", "1,3,558,355,4", "--max-tokens", "10", "--temperature", "0", "--draft", "off")
    begun = rows()
    cluster.prompt(*asked)
    once = rows()
    cluster.prompt(*asked)
    grown = [after - before for before, after in zip(begun, once, strict=True)]
    # Five of the prompt, and each token but the last went in.
    assert grown == [14, 14]
    assert [after - before for before, after in zip(once, rows(), strict=True)] == grown


def test_a_busy_pipeline_shows_its_rate_without_watching(story, endless):
    assert {stage["rows_ps"] for stage in story.status()["stages"]} == {None}
    asking = story.start("prompt", *endless, "--max-tokens", "100000")
    asking.read(1)
    assert all(stage["rows_ps"] > 0 for stage in story.status()["stages"])
    asking.stop()


def test_at_a_terminal_the_table_is_drawn_again_and_a_lost_node_does_not_end_it(cluster):
    cluster.up("--local", "2")
    env = {key: value for key, value in cluster.env.items() if key != "NO_COLOR"}
    env |= {"TERM": "xterm", "COLUMNS": "80", "LINES": "24"}
    with Terminal(cluster.words(*LOOK), env) as screen:

        def row_of_local_2():
            screen.until("local-2")
            return screen.until("held by")

        for words in ("node", "local-1", "ready", "held by nobody", "through the last stage"):
            screen.until(words)
        cluster.kill_for_good("local-2")
        screen.until("not running")
        screen.until("local-1")  # and again
        screen.until("not running")
        cluster.up("--local", "2")
        eventually(row_of_local_2, lambda row: "ready" in row and "not running" not in row)
        screen.press_ctrl_c()
        screen.until("\x1b[?25h")  # the cursor is back
        screen.until("interrupted")
        assert screen.process.wait(10) == 130


def test_interrupts_without_pause_end_it_as_one_does(story):
    running = story.start(*LOOK)
    running.read_line()
    while running.process.poll() is None:
        running.send(signal.SIGINT)
    outcome = running.end()
    assert outcome.code == 130 and "interrupted" in outcome.err
    assert "internal" not in outcome.err and "Traceback" not in outcome.err


def test_without_a_pipeline_there_is_nothing_to_watch(cluster):
    outcome = cluster.run(*LOOK)
    assert outcome.code == 1 and "no pipeline is up" in outcome.err
