"""The pipeline for programs with an event loop, over the same scheduler."""

import asyncio
import contextlib
import threading

import pytest

from pi_cluster import (
    AsyncPipelineClient,
    FinishReason,
    PipelineClient,
    PipelineClosed,
    PromptError,
    StateError,
)
from pi_cluster.coordinator.asking.hold import Hold
from pi_cluster.coordinator.async_client import _THREADS
from pi_cluster.coordinator.session import Session
from pi_cluster.coordinator.text_model import TextModel
from tests.support.asking import ENDLESS, ENDLESS_IDS, FOX, SEEDED, SEEDED_WORDS
from tests.support.cluster_process import describe_all, eventually

PATIENCE_S = 60


def run(cluster, work, **keywords):
    """Run ``work(client)`` with a client of a cluster."""

    async def working():
        async with (
            asyncio.timeout(PATIENCE_S),
            AsyncPipelineClient.connect(cluster.name, **keywords) as client,
        ):
            return await work(client)

    with cluster.environment():
        return asyncio.run(working())


async def first_piece(stream):
    return await anext(aiter(stream))


def stands_still(cluster):
    """No node computes any more."""
    before = None
    while (now := [node.stage.rows for node in describe_all(cluster.record())]) != before:
        before = now
    return True


def test_a_task_gets_the_answer_that_the_command_prints(story):
    async def work(client):
        stream = client.stream(FOX, **SEEDED)
        pieces = [piece async for piece in stream]
        return await client.ask(FOX, **SEEDED), pieces, stream.answer

    printed = story.prompt(FOX, *SEEDED_WORDS)
    asked, pieces, streamed = run(story, work)
    assert asked.ids == streamed.ids == printed["ids"]
    assert asked.text == "".join(pieces) == printed["text"] and len(pieces) > 10


def test_many_tasks_ask_at_once(story):
    async def work(client):
        alone = [(await client.ask(FOX, seed=seed, max_tokens=20)).ids for seed in range(8)]
        tasks = [client.ask(FOX, seed=seed, max_tokens=20) for seed in range(8)]
        return alone, [answer.ids for answer in await asyncio.gather(*tasks)]

    alone, together = run(story, work)
    assert alone == together


def test_cancelling_a_task_ends_its_generation(story):
    async def work(client):
        stream, begun = client.stream(ENDLESS_IDS, **ENDLESS), asyncio.Event()

        async def read():
            async for _ in stream:
                begun.set()

        task = asyncio.create_task(read())
        await begun.wait()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        assert task.cancelled() and stream.answer.was_interrupted
        await asyncio.to_thread(stands_still, story)
        return await client.ask(FOX, **SEEDED)

    assert run(story, work).finish_reason is FinishReason.LENGTH


def test_leaving_the_loop_ends_the_generation(story):
    async def work(client):
        async with client.stream(ENDLESS_IDS, **ENDLESS) as stream:
            piece = await first_piece(stream)
        await asyncio.to_thread(stands_still, story)
        return piece, stream.answer

    piece, answer = run(story, work)
    assert answer.was_interrupted and answer.text.startswith(piece)


def test_a_stream_is_cancelled_from_beside_its_loop(story):
    async def work(client):
        stream = client.stream(ENDLESS_IDS, **ENDLESS)
        text = ""
        async for piece in stream:
            text += piece
            stream.cancel()
        return text, stream.answer

    text, answer = run(story, work)
    assert answer.was_interrupted and answer.text == text


def test_the_event_loop_does_nothing_that_may_take_long(story, monkeypatch):
    threads = {}

    def watch(kind, name):
        original = getattr(kind, name)

        def watched(*arguments, **keywords):
            threads.setdefault(f"{kind.__name__}.{name}", set()).add(threading.get_ident())
            return original(*arguments, **keywords)

        monkeypatch.setattr(kind, name, watched)

    for kind, name in (
        *((Session, "__init__"), (Session, "__enter__"), (Session, "__exit__")),
        *((Hold, "load"), (Hold, "close"), (TextModel, "chat_ids"), (TextModel, "answer")),
    ):
        watch(kind, name)

    async def work(client):
        await client.ask(FOX, **SEEDED)
        await first_piece(client.stream(FOX, **SEEDED))
        await client.status()

    run(story, work)
    assert len(threads) == 7
    assert threading.get_ident() not in set().union(*threads.values())


def test_a_task_that_waits_for_another_program_can_be_cancelled(story, endless):
    talking = story.start("prompt", *endless, "--max-tokens", "20000")
    talking.read(1)
    waits = threading.Event()

    async def work(client):
        task = asyncio.create_task(client.ask(FOX))
        await asyncio.to_thread(waits.wait, PATIENCE_S)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(story, work, wait_s=3600, on_notice=lambda _: waits.set())
    assert talking.process.poll() is None


def test_closing_ends_what_runs_and_says_so(story):
    async def work(client):
        stream = client.stream(ENDLESS_IDS, **ENDLESS)
        pieces = aiter(stream)
        await anext(pieces)
        await client.close()
        with pytest.raises(PipelineClosed):
            async for _ in pieces:
                pass
        with pytest.raises(PipelineClosed):
            _ = stream.answer

    run(story, work)


def test_a_task_that_is_cancelled_while_it_closes_frees_the_pipeline_all_the_same(story):
    async def work(client):
        stream = client.stream(ENDLESS_IDS, **ENDLESS)
        pieces = aiter(stream)
        await anext(pieces)
        busy = threading.Event()
        loop = asyncio.get_running_loop()
        waiting = [loop.run_in_executor(client._pool, busy.wait) for _ in range(_THREADS)]
        closing = asyncio.create_task(client.close())
        await asyncio.sleep(0)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        busy.set()
        await asyncio.gather(*waiting)
        with pytest.raises(PipelineClosed):
            async for _ in pieces:
                pass

    run(story, work)


def test_threads_and_tasks_share_one_client(story):
    async def work(sync):
        async with asyncio.timeout(PATIENCE_S), AsyncPipelineClient.over(sync) as client:
            return [
                answer.ids
                for answer in await asyncio.gather(
                    asyncio.to_thread(sync.ask, FOX, **SEEDED), client.ask(FOX, **SEEDED)
                )
            ]

    with story.environment(), PipelineClient.connect(story.name) as sync:
        by_thread, by_task = asyncio.run(work(sync))
        assert by_thread == by_task == sync.ask(FOX, **SEEDED).ids, "and it stays open"


def test_what_cannot_be_asked_is_raised_by_the_task_that_asks(story, cluster):
    async def work(client):
        with pytest.raises(PromptError, match="empty"):
            await client.ask("")
        with pytest.raises(PromptError, match="empty"):
            await first_piece(client.stream([]))

    run(story, work)
    with pytest.raises(StateError, match="no pipeline is up"):
        run(cluster, work)


def test_a_task_follows_the_pipeline_when_another_up_replaces_it(cluster):
    cluster.up("--local", "2")

    async def work(client):
        few = await client.ask(ENDLESS_IDS, **ENDLESS | {"max_tokens": 300})
        asked = [
            asyncio.create_task(client.ask(ENDLESS_IDS, **ENDLESS | {"max_tokens": 1500}))
            for _ in range(3)
        ]
        await asyncio.to_thread(
            eventually,
            lambda: describe_all(cluster.record()),
            lambda nodes: all(node.stage.sequences > 1 for node in nodes),
        )
        await asyncio.to_thread(cluster.up, "--local", "2", "--texts", "3")
        return few.ids, [answer.ids for answer in await asyncio.gather(*asked)]

    few, many = run(cluster, work)
    assert [ids[:300] for ids in many] == [few] * 3
