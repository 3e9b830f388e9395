"""Where a server's adapters ask: many at once, held, cancelled, and through another `up`."""

import asyncio
import gc
import signal

import pytest

from pi_cluster import PipelineClient
from pi_cluster.cluster.errors import ModelReplaced, NodeLost, PipelineBusy
from pi_cluster.coordinator.pipeline.asker import dialer_to_ask
from pi_cluster.coordinator.records.kept_record import load_record
from pi_cluster.coordinator.standing import Held
from pi_cluster.server.asking.ask import Ask
from pi_cluster.server.asking.desk import Desk
from pi_cluster.server.asking.reply import Ended
from tests.support.asking import ENDLESS, ENDLESS_IDS, FOX, SEEDED
from tests.support.checkpoints import small_config, write_hugging_face_checkpoint
from tests.support.cluster_process import describe_all
from tests.support.desks import PATIENCE_S, answer_of, begun, off_loop, working
from tests.support.stores import shard

DRAWN = {"temperature": 0.8, "repeat_penalty": 1e9, "seed": 3, "max_tokens": 1500}


def sequences(cluster):
    return [node.stage.sequences for node in describe_all(cluster.record())]


@pytest.mark.parametrize("kills", [False, True], ids=["up", "a node killed, then up"])
def test_an_answer_goes_on_exactly_when_the_pipeline_comes_back(cluster, kills):
    cluster.up("--local", "2")

    async def work(desk):
        ask = Ask(ENDLESS_IDS, DRAWN)
        task = await begun(desk, ask)
        if kills:
            await asyncio.to_thread(cluster.kill_for_good, "local-2")
        words = () if kills else ("--texts", "3")
        await asyncio.to_thread(cluster.up, "--local", "2", *words)
        answer = await task
        return answer, await answer_of(await desk.prepare(ask))

    broken, whole = working(cluster, work)
    assert broken.ids == whole.ids and len(whole.ids) == 1500
    assert broken.timings.prompt_tokens == len(ENDLESS_IDS)
    assert broken.timings.ttft_s < broken.timings.decode_s


def test_another_model_ends_what_was_asked_by_name_and_is_asked_from_then_on(cluster, tmp_path):
    cluster.up("--local", "2")
    write_hugging_face_checkpoint(tmp_path / "checkpoint", small_config(n_layers=4))
    store = tmp_path / "store"
    manifest = shard(tmp_path / "checkpoint", store)

    async def work(desk):
        before = desk.client.digest
        task = await begun(desk, Ask(ENDLESS_IDS, ENDLESS))
        await asyncio.to_thread(cluster.up, str(store), "--local", "2")
        with pytest.raises(ModelReplaced, match="another model is up"):
            await task
        answer = await answer_of(await desk.prepare(Ask([1, 2], {"max_tokens": 5})))
        return before, desk.client.digest, answer

    before, after, answer = working(cluster, work)
    assert before != after == manifest.digest
    assert answer.prompt_ids == [1, 2]


def test_while_another_program_is_answered_a_request_is_held_and_says_why(story, endless):
    talking = story.start("prompt", *endless, "--max-tokens", "20000")
    talking.read(1)

    async def work(desk):
        reply = await desk.prepare(Ask(FOX, SEEDED))
        assert reply.standing() is None
        task = asyncio.create_task(answer_of(reply))
        held = await off_loop(story, reply.standing, lambda now: isinstance(now, Held))
        talking.send(signal.SIGINT)
        return held.reason, await task

    reason, answer = working(story, work)
    assert f"process {talking.process.pid}" in reason and len(answer.ids) == 40


def test_a_server_at_rest_keeps_the_pipeline_and_released_it_gives_it_to_another(story):
    async def work(desk):
        await answer_of(await desk.prepare(Ask(FOX, SEEDED)))
        with pytest.raises(PipelineBusy), PipelineClient.connect(story.name, wait_s=0) as other:
            await asyncio.to_thread(other.ask, FOX, **SEEDED)
        task = await begun(desk, Ask(ENDLESS_IDS, ENDLESS | {"max_tokens": 300}))
        async with desk.exclusive():
            assert task.done(), "what ran has ended first"
            late = await desk.prepare(Ask(FOX, SEEDED))
            waiting = asyncio.create_task(answer_of(late))
            with PipelineClient.connect(story.name, wait_s=0) as other:
                alone = await asyncio.to_thread(other.ask, FOX, **SEEDED)
            assert isinstance(late.standing(), Held) and not waiting.done()
        return alone, await waiting

    alone, after = working(story, work)
    assert alone.ids == after.ids


def test_who_gives_up_wanting_it_alone_keeps_nobody_out(story):
    async def work(desk):
        task = await begun(desk, Ask(ENDLESS_IDS, ENDLESS | {"max_tokens": 600}))

        async def want_it():
            async with desk.exclusive():
                pytest.fail("the answer has not ended")

        wanting = asyncio.create_task(want_it())
        await asyncio.sleep(0)
        wanting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await wanting
        answer = await answer_of(await desk.prepare(Ask(FOX, SEEDED)))
        task.cancel()
        return answer

    assert len(working(story, work).ids) == 40


@pytest.mark.parametrize("phase", ["prefill", "decode"])
def test_a_task_that_is_cancelled_frees_what_its_reply_held(story, phase):
    ids = [1, *[n % 400 + 300 for n in range(2, 3_000)]] if phase == "prefill" else ENDLESS_IDS

    async def work(desk):
        await answer_of(await desk.prepare(Ask(FOX, SEEDED)))
        before = [node.stage.rows for node in describe_all(story.record())]
        reply = await desk.prepare(Ask(ids, ENDLESS))
        task = asyncio.create_task(answer_of(reply))
        await off_loop(
            story,
            lambda: [node.stage.rows for node in describe_all(story.record())],
            lambda rows: all(now > then for now, then in zip(rows, before, strict=True)),
        )
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.to_thread(desk.client.release)
        await off_loop(story, lambda: sequences(story), lambda found: not any(found), 10)

    working(story, work)


def test_thirty_two_replies_at_once_are_each_what_they_are_alone(story):
    asks = [Ask(FOX, {"seed": n, "max_tokens": 24, "asker": f"key {n % 3}"}) for n in range(32)]

    async def work(desk):
        alone = [await answer_of(await desk.prepare(ask)) for ask in asks]
        rounds = []
        for _ in range(2):
            replies = [await desk.prepare(ask) for ask in asks]
            rounds.append(await asyncio.gather(*map(answer_of, replies)))
            gc.collect()
        return alone, rounds

    alone, rounds = working(story, work)
    for together in rounds:
        assert [one.ids for one in together] == [one.ids for one in alone]


def test_choices_share_their_prompt_and_come_one_by_one(story):
    async def work(desk):
        reply = await desk.prepare(Ask(FOX, {"seed": 1, "max_tokens": 20}, choices=3))
        found = {}
        async for event in reply:
            if isinstance(event, Ended):
                found[event.choice] = event.answer.ids
        alone = [
            (await answer_of(await desk.prepare(Ask(FOX, {"seed": n, "max_tokens": 20})))).ids
            for n in (1, 2, 3)
        ]
        return [found[n] for n in range(3)], alone

    together, alone = working(story, work)
    assert together == alone


def test_nodes_that_do_not_come_back_in_time_end_an_answer_by_name(cluster):
    cluster.up("--local", "2")

    async def work(client):
        desk = Desk(client)
        task = await begun(desk, Ask(ENDLESS_IDS, ENDLESS))
        await asyncio.to_thread(cluster.kill_for_good, "local-2")
        try:
            async with asyncio.timeout(PATIENCE_S):
                with pytest.raises(NodeLost, match="local-2"):
                    await task
        finally:
            desk.close()

    with cluster.environment():
        record = load_record(cluster.name)
        dialer = dialer_to_ask(cluster.name, record, print)
        with PipelineClient(
            *(record, dialer, 2.0, print), is_lasting=True, heal_timeout_s=2.0
        ) as client:
            asyncio.run(work(client))
