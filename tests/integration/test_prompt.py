"""``prompt`` over three real workers: its answer, its figures, and the golden ids."""

import pytest

from pi_cluster import storyteller
from tests.support.cluster_process import describe_all
from tests.support.stores import shard

FOX = "Tell me a story about a brave fox."
SEEDED = ("--seed", "5", "--max-tokens", "40")


@pytest.fixture
def exact_story(cluster):
    """The embedded model's weights as they were trained, in float32, on three workers."""
    shard(storyteller.checkpoint_path(), cluster.folder / "store", "f32")
    cluster.up(str(cluster.folder / "store"), "--local", "3")
    return cluster


def test_two_runs_with_one_seed_give_the_keys_that_were_promised_and_the_same_ids(story):
    first, second = (story.prompt(FOX, *SEEDED) for _ in range(2))
    assert list(first) == ["text", "prompt_ids", "ids", "finish_reason", "timings", "stages"]
    assert list(first["timings"]) == [
        *("load_s", "prefill_s", "decode_s", "ttft_s", "prefill_tps", "decode_tps")
    ]
    assert all(value >= 0 for value in first["timings"].values())
    assert [list(s) for s in first["stages"]] == [["node", "layers", "compute_s", "wait_s"]] * 3
    assert all(s["compute_s"] > 0 and s["wait_s"] >= 0 for s in first["stages"])
    assert first["finish_reason"] == "length" and len(first["ids"]) == 40
    assert first["ids"] == second["ids"] and first["text"] == second["text"]
    other = story.prompt(FOX, "--seed", "6", "--max-tokens", "40")
    assert other["ids"] != first["ids"]


def test_text_is_the_only_thing_on_standard_output(story):
    expected = story.prompt(FOX, *SEEDED)["text"]
    outcome = story.run("prompt", FOX, *SEEDED)
    assert (outcome.code, outcome.out, outcome.err) == (0, expected + "\n", "")


def test_text_streams_while_the_rest_is_still_being_computed(story):
    running = story.start("prompt", FOX, "--seed", "5", "--max-tokens", "120")
    beginning = running.read(10)
    assert running.process.poll() is None
    whole = running.end()
    assert whole.code == 0 and len(whole.out) > 3 * len(beginning)


def test_a_prompt_from_standard_input_is_the_same_as_one_from_the_command_line(story):
    piped = story.run("prompt", "-", *SEEDED, stdin=FOX.encode())
    assert piped.out == story.prompt(FOX, *SEEDED)["text"] + "\n"


LINES = "Tell me a story\nabout a brave fox."


@pytest.mark.parametrize(
    ("piped", "argument"),
    [
        (f"{FOX}\n", FOX),
        (f"{FOX}\r\n", FOX),
        (f"\ufeff{FOX}\r\n", FOX),
        (LINES.replace("\n", "\r\n") + "\r\n", LINES),
        (f"{FOX}\n\n", f"{FOX}\n"),
        (f"{FOX}\r", f"{FOX}\r"),
        (f"\n {FOX} \n", f"\n {FOX} "),
        (f"{FOX}\ufeff\n", f"{FOX}\ufeff"),
    ],
    ids=["LF", "CRLF", "BOM", "CRLF within", "one LF only", "CR alone", "spaces", "BOM elsewhere"],
)
def test_what_editors_and_shells_put_around_a_text_is_not_asked(story, piped, argument):
    asked = ("--max-tokens", "1", "--json")
    outcome = story.run("prompt", "-", *asked, stdin=piped.encode())
    assert outcome.json()["prompt_ids"] == story.prompt(argument, "--max-tokens", "1")["prompt_ids"]


@pytest.mark.parametrize("piped", [b"", b"\n", b"\r\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf\r\n"])
def test_a_file_without_a_text_is_an_empty_prompt(story, piped):
    outcome = story.run("prompt", "-", stdin=piped)
    assert (outcome.code, outcome.out) == (1, "")
    assert "the prompt is empty" in outcome.err


def test_verbose_ends_with_the_eight_lines_of_ollama_on_standard_error_only(story):
    outcome = story.run("prompt", FOX, *SEEDED, "--verbose")
    lines = dict(line.split(":", 1) for line in outcome.err.splitlines())
    names = [
        *("total duration", "load duration", "prompt eval count", "prompt eval duration"),
        *("prompt eval rate", "eval count", "eval duration", "eval rate"),
    ]
    assert list(lines)[:8] == names
    assert lines["eval count"].split() == ["40", "token(s)"]
    assert "duration" not in outcome.out and "eval" not in outcome.out


def test_a_stop_string_ends_the_text_before_it(story):
    whole = story.prompt(FOX, *SEEDED)
    stop = whole["text"][40:48]
    cut = story.prompt(FOX, *SEEDED, "--stop", stop)
    assert cut["finish_reason"] == "stop"
    assert cut["text"] == whole["text"][: whole["text"].index(stop)]
    assert cut["ids"] == whole["ids"][: len(cut["ids"])]


def test_end_of_sequence_ends_an_answer_and_raw_continues_a_text(story):
    answer = story.prompt("Who are you?", "--temperature", "0")
    assert answer["finish_reason"] == "eos" and 2 not in answer["ids"] and answer["text"]
    raw = story.prompt("Once upon a time", "--raw", "--temperature", "0", "--max-tokens", "5")
    assert raw["prompt_ids"][0] == 1 and 3 not in raw["prompt_ids"]
    assert raw["text"].startswith((",", " "))


def test_three_workers_continue_a_prompt_with_the_golden_ids_of_transformers(exact_story, golden):
    prompt_ids, expected = golden
    asked = ",".join(map(str, prompt_ids))
    settings = ("--temperature", "0", "--max-tokens", "200")
    assert exact_story.prompt("--ids", asked, *settings)["ids"] == expected


def test_every_node_is_free_again_after_an_answer(story):
    story.prompt(FOX, "--max-tokens", "3")
    for node in describe_all(story.record()):
        assert (node.stage.sequences, node.stage.cache_bytes, node.stage.coordinator) == (0, 0, "")
