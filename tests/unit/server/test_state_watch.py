"""Whoever follows the cluster shares one look at it, and nobody looks for nobody."""

import asyncio
import json

import pytest

from pi_cluster.server.asking.headcount import Headcount
from pi_cluster.server.native.state import (
    ClusterState,
    HealCounts,
    RequestCounts,
    ServedModel,
    TokenCounts,
)
from pi_cluster.server.native.state_watch import StateWatch

NOBODY = Headcount(0, 0)


class View:
    """Tells each look's number as the epoch, once it may be looked."""

    count = NOBODY

    def __init__(self):
        self.looks = 0
        self.may_look = asyncio.Event()
        self.may_look.set()

    async def now(self, _fresh_s):
        await self.may_look.wait()
        self.looks += 1
        if self.looks == 3:
            raise OSError("no thread is left")
        return ClusterState(
            *(0.0, "1", "test", self.looks, "ready", ""),
            ServedModel("m", 1, None, False),
            *([], RequestCounts(0, 0, None), TokenCounts(0, 0, 0), HealCounts(0, 0, 0.0)),
        )


def epoch(told):
    return json.loads(told)["epoch"]


def test_many_who_follow_share_each_look_and_who_comes_later_has_the_last_at_once():
    async def check():
        view, before = View(), asyncio.all_tasks()
        view.may_look.clear()
        watch = StateWatch(view)
        followers = [watch.follow() for _ in range(5)]
        firsts = [asyncio.ensure_future(anext(one)) for one in followers]
        await asyncio.sleep(0)
        view.may_look.set()
        assert {epoch(told) for told in await asyncio.gather(*firsts)} == {1}
        late = watch.follow()
        assert epoch(await anext(late)) == 1
        assert {epoch(told) for told in await asyncio.gather(*map(anext, followers))} == {2}
        for one in (*followers, late):
            await one.aclose()
        assert view.looks == 2
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == before, "nobody looks for nobody"
        again = watch.follow()
        view.looks = 0
        assert epoch(await anext(again)) == 1, "what was seen before is not told as if it were now"
        await again.aclose()

    asyncio.run(asyncio.wait_for(check(), 20))


def test_the_end_ends_all_who_follow():
    async def check():
        watch = StateWatch(View())
        followers = [watch.follow() for _ in range(3)]
        await asyncio.gather(*map(anext, followers))
        waiting = [asyncio.ensure_future(anext(one, "over")) for one in followers]
        await asyncio.to_thread(watch.end)
        assert await asyncio.gather(*waiting) == ["over"] * 3
        assert [told async for told in watch.follow()] == []

    asyncio.run(asyncio.wait_for(check(), 20))


def test_a_look_that_fails_ends_the_streams_and_the_next_begins_anew():
    async def check():
        view = View()
        watch = StateWatch(view)
        view.looks = 2
        with pytest.raises(OSError, match="no thread is left"):
            await anext(watch.follow())
        assert epoch(await anext(watch.follow())) == 4

    asyncio.run(asyncio.wait_for(check(), 20))
