"""The pipeline as a library: what a program gets is what ``prompt`` prints."""

import itertools
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from pi_cluster import (
    FinishReason,
    NodeLost,
    PipelineBusy,
    PipelineClient,
    PipelineClosed,
    PromptError,
    SettingsError,
    StateError,
    as_they_come,
)
from tests.support.asking import ENDLESS, ENDLESS_IDS, FOX, SEEDED, SEEDED_WORDS, WHO
from tests.support.cluster_process import describe_all, eventually

pytestmark = pytest.mark.timeout(240)  # some tests have thousands of tokens told


@pytest.fixture
def client(story):
    with story.environment(), PipelineClient.connect(story.name) as connected:
        yield connected


@pytest.fixture
def frail(cluster):
    """Two workers of which each test does what it likes, and a client of theirs."""
    cluster.up("--local", "2")
    with cluster.environment(), PipelineClient.connect(cluster.name) as connected:
        yield cluster, connected


def talk(client):
    return client.stream(ENDLESS_IDS, **ENDLESS)


def has_begun(cluster):
    """Every node has computed for a session."""
    nodes = eventually(
        lambda: describe_all(cluster.record()),
        lambda nodes: all(node.stage.sequences for node in nodes),
        40,
    )
    assert nodes


def test_a_question_gets_the_answer_that_the_command_prints(story, client):
    printed = story.prompt(FOX, *SEEDED_WORDS)
    answer = client.ask(FOX, **SEEDED)
    assert (answer.text, answer.ids) == (printed["text"], printed["ids"])
    assert answer.prompt_ids == printed["prompt_ids"]
    assert (answer.finish_reason, answer.seed) == (FinishReason.LENGTH, 5)
    assert [stage.node for stage in answer.stages] == ["local-1", "local-2", "local-3"]
    assert answer.timings.generated_tokens == 40 and answer.timings.decode_tps > 0


def test_every_id_has_its_log_probability_also_in_a_stopped_answer_and_none_unless_asked(client):
    plain = client.ask(FOX, **SEEDED)
    answer = client.ask(FOX, **SEEDED, logprobs=3)
    assert (answer.ids, plain.logprobs) == (plain.ids, [])
    assert [one.id for one in answer.logprobs] == answer.ids
    assert all(one.logprob <= 0 and len(one.top) == 3 for one in answer.logprobs)
    more = client.ask([*answer.prompt_ids, *answer.ids], max_tokens=1)
    assert more.cached_tokens == len(more.prompt_ids) - 1, "the last id was never sent"
    word = answer.text.split()[5]
    stopped = client.ask(FOX, **SEEDED, logprobs=0, stop=word)
    assert stopped.finish_reason is FinishReason.STOP
    assert [one.id for one in stopped.logprobs] == stopped.ids


def test_a_bias_and_penalties_change_what_is_said(client):
    plain = client.ask(FOX, temperature=0, max_tokens=20)
    never = dict.fromkeys(plain.ids, -100)
    biased = client.ask(FOX, temperature=0, max_tokens=20, logit_bias=never)
    assert not set(biased.ids) & set(plain.ids)
    once = client.ask(FOX, temperature=0, max_tokens=20, presence_penalty=2, frequency_penalty=2)
    assert once.ids != plain.ids


def test_text_chats_raw_text_and_ids_are_asked_as_the_command_asks_them(story, client):
    greedy = ("--temperature", "0", "--max-tokens", "12")
    asked = {"temperature": 0, "max_tokens": 12}
    chat = [{"role": "user", "content": WHO}]
    assert client.ask(chat, **asked).ids == story.prompt(WHO, *greedy)["ids"]
    raw = story.prompt("Once upon a time", "--raw", *greedy)
    assert client.ask("Once upon a time", raw=True, **asked).text == raw["text"]
    ids = story.prompt("--ids", "1,3,558,355,4", *greedy)
    assert client.ask([1, 3, 558, 355, 4], **asked).ids == ids["ids"]
    stopped = client.ask(WHO, temperature=0, stop="am")
    assert stopped.finish_reason is FinishReason.STOP and "am" not in stopped.text


def test_a_chat_goes_on_from_its_answer(client):
    turns = [{"role": "user", "content": WHO}]
    said = client.ask(turns, temperature=0)
    turns += [
        {"role": "assistant", "content": said.text},
        {"role": "user", "content": "What is your name?"},
    ]
    assert "I am called Storyteller" in client.ask(turns, temperature=0).text


def test_a_stream_gives_pieces_and_then_the_whole_answer(client):
    stream = client.stream(FOX, **SEEDED)
    with pytest.raises(RuntimeError, match="not ended"):
        _ = stream.answer
    pieces = list(stream)
    assert len(pieces) > 10 and "".join(pieces) == stream.answer.text
    assert stream.answer.text == client.ask(FOX, **SEEDED).text


def test_one_thread_serves_many_streams_as_their_pieces_come(client):
    alone = {seed: client.ask(FOX, seed=seed, max_tokens=25).text for seed in range(6)}
    streams = {client.stream(FOX, seed=seed, max_tokens=25): seed for seed in alone}
    texts, order, ended = dict.fromkeys(alone, ""), [], []
    for stream, piece in as_they_come(streams):
        if piece is None:
            ended.append(streams[stream])
            assert stream.answer.text == texts[streams[stream]]
        else:
            texts[streams[stream]] += piece
            order.append(streams[stream])
    assert texts == alone and sorted(ended) == list(alone)
    changes = sum(one != next_one for one, next_one in itertools.pairwise(order))
    assert changes > 12, "they came side by side"


def test_of_many_streams_one_is_cancelled_and_the_others_go_on(client):
    expected = client.ask(FOX, **SEEDED).text
    talking, others = talk(client), [client.stream(FOX, **SEEDED) for _ in range(2)]
    for stream, piece in as_they_come([talking, *others]):
        if stream is talking and piece:
            talking.cancel()
    assert talking.answer.was_interrupted and talking.answer.text
    assert [stream.answer.text for stream in others] == [expected] * 2


def test_another_thread_cancels_a_stream_that_is_being_read(client):
    stream = talk(client)
    pieces = iter(stream)
    first = next(pieces)
    canceller = threading.Thread(target=stream.cancel)
    canceller.start()
    rest = list(pieces)
    canceller.join()
    assert stream.answer.was_interrupted
    assert stream.answer.text == first + "".join(rest)
    assert client.ask(FOX, **SEEDED).text


def test_leaving_the_loop_ends_the_answer_with_what_was_given(client):
    with talk(client) as stream:
        given = next(iter(stream))
    assert stream.answer.was_interrupted and stream.answer.text.startswith(given)
    client.status()
    assert eventually(lambda: client.status().rows_ps, lambda rows_ps: rows_ps == 0) == 0


def test_two_threads_ask_at_once_and_each_gets_its_own_answer(story, client):
    printed = story.prompt(FOX, *SEEDED_WORDS)["ids"]
    who = story.prompt(WHO, "--temperature", "0")["ids"]
    with ThreadPoolExecutor(2) as pool:
        fox = pool.submit(client.ask, FOX, **SEEDED)
        me = pool.submit(client.ask, WHO, temperature=0)
        assert (fox.result(60).ids, me.result(60).ids) == (printed, who)


def test_closing_ends_what_runs_and_says_so(story):
    with story.environment():
        client = PipelineClient.connect(story.name)
        read, merged = talk(client), [talk(client) for _ in range(2)]
        pieces = iter(read)
        next(pieces)
        client.close()
        with pytest.raises(PipelineClosed, match="let go"):
            list(pieces)
        ended = [stream for stream, piece in as_they_come(merged) if piece is None]
        assert len(ended) == 2
        for stream in ended:
            with pytest.raises(PipelineClosed):
                _ = stream.answer
        with pytest.raises(PipelineClosed):
            client.ask(FOX)
        client.close()


def test_between_questions_others_get_the_pipeline_and_then_it_is_ours_again(story, client):
    first = client.ask(FOX, **SEEDED)
    assert story.prompt(FOX, *SEEDED_WORDS)["ids"] == first.ids
    assert client.ask(FOX, **SEEDED).ids == first.ids


def test_who_waits_too_long_for_another_program_is_told_so(story, endless):
    talking = story.start("prompt", *endless, "--max-tokens", "20000")
    talking.read(1)
    told = []
    with (
        story.environment(),
        PipelineClient.connect(story.name, wait_s=0.1, on_notice=told.append) as client,
        pytest.raises(PipelineBusy, match=r"also after 0\.1 s: .* longer wait_s"),
    ):
        client.ask(FOX)
    assert any("waiting up to 0.1 s" in sentence for sentence in told)


def test_a_callback_that_raises_harms_no_question(story, endless, caplog):
    def raising(_sentence):
        raise ZeroDivisionError

    talking = story.start("prompt", *endless, "--max-tokens", "3000")
    talking.read(1)
    with (
        story.environment(),
        PipelineClient.connect(story.name, wait_s=60, on_notice=raising) as client,
    ):
        assert len(client.ask(FOX, **SEEDED).ids) == 40
    assert "ZeroDivisionError" in caplog.text, "and it is not swallowed"


def test_what_cannot_be_asked_is_refused_before_anything_is_sent(client):
    for prompt, reason in (
        ("", "empty"),
        ([], "empty"),
        ([1, "2"], "list of token ids"),
        ([{"role": "user"}], "role and a content"),
        ([1, {"role": "user", "content": "?"}], "stand alone"),
        ([9_999_999], "outside the vocabulary"),
    ):
        with pytest.raises(PromptError, match=reason):
            client.ask(prompt)
    with pytest.raises(SettingsError, match="stop string is empty"):
        client.stream(FOX, stop=[".", ""])
    with pytest.raises(SettingsError, match="max-tokens is 0"):
        client.ask(FOX, max_tokens=0)
    with pytest.raises(TypeError, match="max_token"):
        client.ask(FOX, max_token=5)


def test_the_status_tells_how_each_stage_is(story, client):
    first = client.status()
    assert first.is_well and first.cluster == story.name and first.rows_ps is None
    assert [stage.node for stage in first.stages] == ["local-1", "local-2", "local-3"]
    assert all(stage.memory_bytes > stage.free_memory_bytes > 0 for stage in first.stages)
    assert all(stage.weight_bytes > 0 and stage.layers for stage in first.stages)
    with talk(client) as talking:
        pieces = iter(talking)  # which ends the answer when nobody holds it
        next(pieces)
        busy = client.status()
    assert {stage.state for stage in busy.stages} == {"busy"} and busy.rows_ps > 0


def test_where_no_pipeline_is_up_the_error_says_what_to_run(cluster):
    with (
        cluster.environment(),
        pytest.raises(StateError, match=rf"no pipeline is up in cluster '{cluster.name}': .*up"),
    ):
        PipelineClient.connect(cluster.name)


def test_threads_that_ask_see_their_cluster_while_others_enter_and_leave_it(cluster):
    name, folder = "XDG_STATE_HOME", cluster.env["XDG_STATE_HOME"]
    seen, has_ended = set(), threading.Event()

    def look():
        while True:
            seen.add(os.environ.get(name))
            if has_ended.is_set():
                return

    outside = os.environ.get(name)
    with cluster.environment(), ThreadPoolExecutor(1) as pool:
        looking = pool.submit(look)
        for _ in range(2_000):
            with cluster.environment():
                pass
        has_ended.set()
        looking.result(40)
    assert seen == {folder} and os.environ.get(name) == outside != folder


def test_questions_follow_the_pipeline_when_another_up_replaces_it(frail):
    cluster, client = frail
    expected = client.ask(ENDLESS_IDS, **ENDLESS | {"max_tokens": 300}).ids
    with ThreadPoolExecutor(3) as pool:
        asked = [
            pool.submit(client.ask, ENDLESS_IDS, **ENDLESS | {"max_tokens": 1500}) for _ in range(3)
        ]
        has_begun(cluster)
        cluster.up("--local", "2", "--texts", "3")
        answers = [one.result(180) for one in asked]
    assert {tuple(answer.ids[:300]) for answer in answers} == {tuple(expected)}
    assert {len(answer.ids) for answer in answers} == {1500}


def test_a_lost_node_that_is_not_mended_ends_what_was_shown_and_an_up_brings_it_back(frail):
    cluster, _ = frail
    with PipelineClient.connect(cluster.name, heal_timeout_s=0) as client:
        expected = client.ask(FOX, **SEEDED).ids
        stream = talk(client)
        pieces = iter(stream)
        next(pieces)
        cluster.kill_for_good("local-2")
        with pytest.raises(NodeLost, match="local-2"):
            list(pieces)
        with pytest.raises(NodeLost, match="local-2"):
            _ = stream.answer
        with pytest.raises(NodeLost, match="local-2"):
            client.ask(FOX)
        assert [stage.state for stage in client.status().stages][1] == "lost"
        cluster.up("--local", "2")
        assert client.ask(FOX, **SEEDED).ids == expected
        assert client.status().is_well


def test_one_thread_has_many_streams_asked_again_that_nobody_has_seen(frail):
    cluster, client = frail
    asked = ENDLESS | {"max_tokens": 1500}
    expected = client.ask(ENDLESS_IDS, **ENDLESS | {"max_tokens": 300}).ids
    question = client.question(ENDLESS_IDS, **asked)
    streams = [client.pose(question) for _ in range(4)]
    has_begun(cluster)
    cluster.up("--local", "2", "--texts", "3")
    for _ in as_they_come(streams):
        pass
    assert [stream.answer.ids[:300] for stream in streams] == [expected] * 4
    assert {len(stream.answer.ids) for stream in streams} == {1500}
