"""Who is read or answered runs; who waits for a turn or for the pipeline waits."""

import asyncio
import queue
from concurrent.futures import ThreadPoolExecutor

import pytest

from pi_cluster.coordinator.asking.asked import Piece
from pi_cluster.coordinator.standing import Held, Reading, Waiting
from pi_cluster.server.asking.headcount import Headcount, headcount
from pi_cluster.server.asking.reply import Reply
from pi_cluster.server.asking.visit import Visit, current_visit


class Asked:
    """A question that stands where it is told to, and never ends by itself."""

    has_ended = False
    begun = Piece()

    def __init__(self, stands, *, is_asked=True):
        self.stands, self.is_asked = stands, is_asked
        self.news = queue.SimpleQueue()
        self.on_news = None
        self.was_asked = asyncio.Event()

    def standing(self):
        return self.stands

    def ask(self, error=None):
        self.was_asked.set()
        return iter(())

    def close(self):
        self.has_ended = True

    cancel = close


WAITS, READS, GROWS, HELD = Waiting(1, None), Reading(3, 9), None, Held("pi2 is lost")


@pytest.mark.parametrize(
    ("asked", "count"),
    [
        ([Asked(READS)], Headcount(1, 0)),
        ([Asked(GROWS)], Headcount(1, 0)),
        ([Asked(WAITS)], Headcount(0, 1)),
        ([Asked(HELD, is_asked=False)], Headcount(0, 1)),
        ([Asked(None, is_asked=False)], Headcount(0, 1)),
        ([Asked(WAITS), Asked(READS)], Headcount(1, 0)),
        ([Asked(WAITS), Asked(WAITS)], Headcount(0, 1)),
    ],
)
def test_a_request_runs_as_soon_as_one_of_its_answers_does(asked, count):
    async def check():
        visit = Visit("POST", "/v1/completions", "")
        current_visit.set(visit)
        assert headcount([visit]) == Headcount(0, 0), "it has asked nothing yet"
        with ThreadPoolExecutor(1) as pool:
            coming = asyncio.ensure_future(anext(aiter(Reply(asked, pool))))
            while not visit.has_asked or visit.waits() != bool(count.waiting):
                await asyncio.sleep(0)
            assert headcount([visit, Visit("GET", "/health", "")]) == count
            coming.cancel()
            await asyncio.wait((coming,))
        assert headcount([visit]) == Headcount(1, 0), "an answer that has ended waits for nothing"

    asyncio.run(asyncio.wait_for(check(), 20))
