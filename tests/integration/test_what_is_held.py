"""What a server still holds of what was asked, and of the sessions that it lost: nothing."""

import asyncio
import gc

import pytest

from pi_cluster.coordinator.asking.asked import Asked
from pi_cluster.coordinator.session import Session
from pi_cluster.coordinator.standing import Held
from pi_cluster.server.asking.ask import Ask
from tests.support.asking import ENDLESS, ENDLESS_IDS, FOX, SEEDED
from tests.support.desks import answer_of, begun, off_loop, working

LONG = {**ENDLESS, "max_tokens": 400}


@pytest.fixture
def no_collector():
    """What is free within is so since nothing holds it."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def there(kind):
    """All objects of a kind that are not freed."""
    return [one for one in gc.get_objects() if isinstance(one, kind)]


def held(kind):
    """Those that not even the collector may free."""
    gc.collect()
    return there(kind)


def test_what_was_asked_is_free_with_its_answer(story, no_collector):
    async def work(desk):
        for _ in range(2):
            await answer_of(await desk.prepare(Ask(FOX, SEEDED)))
        await off_loop(story, lambda: there(Asked), lambda found: not found)

    working(story, work)


def test_a_session_that_was_lost_is_free_once_others_work(cluster, no_collector):
    cluster.up("--local", "4")

    async def work(desk):
        for name in ("local-4", "local-3", "local-2"):
            task = await begun(desk, Ask(ENDLESS_IDS, LONG))
            await asyncio.to_thread(cluster.kill_for_good, name)
            await task
        # The one that works, and the one before, which somebody may have held at that moment.
        await off_loop(cluster, lambda: there(Session), lambda found: len(found) <= 2)

    working(cluster, work)


def test_a_session_that_was_lost_is_not_held_by_the_memory_of_its_loss(cluster):
    cluster.up("--local", "2")

    async def work(desk):
        tasks = [await begun(desk, Ask(ENDLESS_IDS, LONG)) for _ in range(2)]
        await asyncio.to_thread(cluster.kill_for_good, "local-2")
        await asyncio.gather(*tasks)
        await off_loop(cluster, lambda: held(Session), lambda found: len(found) == 1)

    working(cluster, work)


def test_who_gave_up_while_the_pipeline_was_mended_is_not_held_by_what_was_lost(cluster):
    cluster.up("--local", "2")

    async def work(desk):
        task = await begun(desk, Ask(ENDLESS_IDS, ENDLESS))
        for name in ("local-1", "local-2"):
            await asyncio.to_thread(cluster.kill_for_good, name)
        for _ in range(4):
            waiting = await desk.prepare(Ask(FOX, SEEDED))
            given_up = asyncio.create_task(answer_of(waiting))
            await off_loop(cluster, waiting.standing, _says_why)
            given_up.cancel()
            await asyncio.wait([given_up])
        del waiting, given_up
        # The one under way, and the last to be told of the loss.
        await off_loop(cluster, lambda: held(Asked), lambda found: len(found) <= 2)
        task.cancel()

    working(cluster, work)


def _says_why(standing):
    return isinstance(standing, Held) and "stopped" in standing.reason
