"""Answers that a server keeps: who may have them, and which of them stay."""

import threading

import pytest

from pi_cluster.cluster.errors import KeptNowhere, NodeLost, PipelineClosed, ShardDamaged
from pi_cluster.coordinator.keeping.journal import Journal
from pi_cluster.coordinator.keeping.what_was_asked import Asking
from pi_cluster.server.asking.kept import Keeper, KeptReply


@pytest.fixture
def journal(tmp_path):
    """In a folder of its own."""
    return Journal(tmp_path / "journal")


@pytest.fixture
def keeper(journal):
    """A server's, closed at the end."""
    keeper = Keeper(journal)
    yield keeper
    keeper.close()


def asked_by(asker):
    return Asking("serve", "d", "Hi", {"asker": asker}, [1])


def left_by(journal, asker):
    """The name of an answer that a server has left."""
    entry = journal.begin(asked_by(asker))
    entry.keep(5)
    entry.leave()
    return entry.name


def test_a_key_sees_and_goes_on_with_its_own_answers_and_is_told_of_no_others(journal, keeper):
    hers, his = left_by(journal, "anna"), left_by(journal, "ben")
    assert [one.name for one in keeper.look("anna")] == [hers]
    assert {one.name for one in keeper.look(None)} == {hers, his}
    for name in (his, "nobody"):
        with pytest.raises(KeptNowhere) as refused:
            keeper.resume(name, "anna")
        assert hers not in str(refused.value)
    keeper.resume(hers, "anna").entry.leave()
    keeper.resume(his, None).entry.leave()


def test_who_looks_keeps_nobody_from_going_on(journal, keeper):
    name, is_over = left_by(journal, ""), threading.Event()

    def look():
        while not is_over.is_set():
            keeper.look("")

    looking = threading.Thread(target=look)
    looking.start()
    try:
        for _ in range(300):
            keeper.resume(name, "").entry.leave()
    finally:
        is_over.set()
        looking.join()


@pytest.mark.parametrize(
    ("failure", "grown", "is_stopping", "stays"),
    [
        (None, True, False, False),  # its client has left
        (NodeLost("pi2 is gone"), True, False, True),
        (NodeLost("pi2 is gone"), False, False, False),  # nothing came that it would go on with
        (PipelineClosed("stopping"), True, True, True),
        (PipelineClosed("stopping"), False, True, True),  # it had a place among those that wait
        (ShardDamaged("layer 3"), True, False, False),
        (ShardDamaged("layer 3"), True, True, False),
    ],
)
def test_what_could_not_end_stays_unless_damage_had_a_part_in_it(
    journal, keeper, failure, grown, is_stopping, stays
):
    kept = keeper.begin(asked_by(""))
    if grown:
        kept.keep(5)
    reply = KeptReply(keeper, [kept])
    if is_stopping:
        keeper.stop()
    if failure:
        reply.failed(failure)
    reply.close()
    keeper.close()
    assert journal.names() == ([kept.entry.name] if stays else [])
