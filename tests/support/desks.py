"""A server's desk in the test's own process, beside a cluster: what is asked at it, and awaited."""

import asyncio
from contextlib import contextmanager

from pi_cluster.coordinator.pipeline.asker import dialer_to_ask
from pi_cluster.coordinator.records.kept_record import load_record
from pi_cluster.server.asking.desk import Desk
from pi_cluster.server.asking.reply import Ended, Grown
from pi_cluster.server.asking.serving_client import serving_client
from tests.support.cluster_process import eventually

PATIENCE_S = 90


def connected(cluster):
    record = load_record(cluster.name)
    return serving_client(record, dialer_to_ask(cluster.name, record, print), print, 64)


@contextmanager
def desk_of(cluster):
    """A server's desk; to be used within `working`."""
    with cluster.environment(), connected(cluster) as client:
        desk = Desk(client, lambda: connected(cluster))
        try:
            yield desk
        finally:
            desk.close()


def working(cluster, work):
    """Run ``work(desk)`` within its time."""

    async def bounded(desk):
        async with asyncio.timeout(PATIENCE_S):
            return await work(desk)

    with desk_of(cluster) as desk:
        return asyncio.run(bounded(desk))


async def answer_of(reply, on_text=lambda: None):
    """The answer of a reply with one choice, which is what its pieces were."""
    text, answer = "", None
    async for event in reply:
        match event:
            case Grown(piece=piece):
                text += piece.text
                on_text()
            case Ended(answer=answer):
                pass
    assert (answer.text or "") == text
    return answer


async def begun(desk, ask):
    """An answer under way: its task, once some of it has come."""
    has_begun = asyncio.Event()
    task = asyncio.create_task(answer_of(await desk.prepare(ask), has_begun.set))
    await has_begun.wait()
    return task


async def off_loop(cluster, look, enough, timeout_s=40):
    return await asyncio.to_thread(eventually, look, enough, timeout_s)
