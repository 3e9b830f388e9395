"""A command killed in mid-answer, and another one that goes on with what it left."""

import signal

import pytest

SEEDED = ("--seed", "5", "--max-tokens", "300")
STORY = "Tell me a story about a brave fox."


def answers_of(cluster):
    """The files of unfinished answers."""
    folder = cluster.folder / "state" / "pi-cluster" / cluster.name / "journal"
    return sorted(folder.iterdir()) if folder.is_dir() else []


def killed(running, count):
    """What a command has printed, which is killed once that are ``count`` bytes."""
    running.read(count)
    running.send(signal.SIGKILL)
    outcome = running.end()
    assert outcome.code == -signal.SIGKILL, outcome
    return outcome.out


@pytest.fixture(scope="module")
def story(make_cluster):
    """The embedded model on two workers, and nobody's unfinished answers."""
    with make_cluster() as cluster:
        cluster.up("--local", "2")
        yield cluster


@pytest.fixture
def asked(endless):
    """Words after ``prompt`` whose answer takes long, drawn from many likely tokens."""
    return (*endless[:2], "--repeat-penalty", "1e9", "--temperature", "1.5", *SEEDED)


def test_a_prompt_that_was_killed_goes_on_to_the_same_last_token(story, asked):
    undisturbed = story.run("prompt", *asked)
    begun = killed(story.start("prompt", *asked), 60)
    [path] = answers_of(story)
    assert path.stat().st_mode & 0o777 == 0o600
    assert undisturbed.out.startswith(begun) and len(begun) < len(undisturbed.out)
    resumed = story.run("prompt", "--resume")
    assert (resumed.code, resumed.out) == (0, undisturbed.out), resumed
    assert answers_of(story) == []


def test_one_that_is_killed_again_and_again_has_the_same_ids(story, asked):
    expected = story.prompt(*asked)
    killed(story.start("prompt", *asked), 40)
    [path] = answers_of(story)
    for count in (80, 160):
        killed(story.start("prompt", "--resume", path.name), count)
    resumed = story.run("prompt", "--resume", path.name, "--json").json()
    for told in ("ids", "text", "prompt_ids", "finish_reason"):
        assert resumed[told] == expected[told]


def test_a_stop_that_lies_ahead_ends_the_resumed_text_where_it_ended_the_other(story, asked):
    whole = story.prompt(*asked)["text"]
    stop = whole[150:158]
    expected = story.run("prompt", *asked, "--stop", stop)
    begun = killed(story.start("prompt", *asked, "--stop", stop), 40)
    assert len(begun) < len(expected.out)
    assert story.run("prompt", "--resume").out == expected.out


def test_an_answer_that_ends_or_is_interrupted_leaves_nothing_on_disk(story, asked):
    story.run("prompt", STORY, "--max-tokens", "5")
    assert answers_of(story) == []
    running = story.start("prompt", *asked)
    running.read(20)
    assert answers_of(story) != []
    running.send(signal.SIGINT)
    assert running.end().code == 130
    assert answers_of(story) == []


def test_without_a_journal_a_killed_prompt_leaves_nothing_to_go_on_with(story, asked):
    killed(story.start("prompt", *asked, "--no-journal"), 40)
    assert answers_of(story) == []
    outcome = story.run("prompt", "--resume")
    assert outcome.code == 1 and "no unfinished answer" in outcome.err


def test_what_was_asked_cannot_be_asked_otherwise_when_it_is_gone_on_with(story):
    for words, named in ((["--seed", "3"], "--seed"), (["--ids", "1"], "--ids")):
        outcome = story.call("prompt", "--resume", "abc", *words)
        assert outcome.code == 2 and f"leave {named} out" in outcome.err
    assert story.call("chat", "--resume", "abc", "--system", "Be brief").code == 2


def test_a_chat_that_was_killed_ends_its_answer_and_remembers_all_turns(story):
    words = ("chat", "--seed", "5", "--temperature", "1.5", "--max-tokens", "120")
    said = f"Who are you?\n{STORY}\n".encode()
    more = b"What is your name?\n"
    expected = story.run(*words, stdin=said + more).out
    first = expected.splitlines()[0]
    running = story.start(*words)
    running.stdin.write(said)
    running.stdin.flush()
    killed(running, len(first.encode()) + 20)
    assert len(answers_of(story)) == 1
    resumed = story.run(*words, "--resume", stdin=more)
    assert resumed.code == 0, resumed
    assert first + "\n" + resumed.out == expected
    assert STORY in resumed.err and answers_of(story) == []
