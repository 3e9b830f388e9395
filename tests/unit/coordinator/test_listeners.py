"""Whoever listens hears everything from then on; whoever fails at it harms nobody."""

import contextlib
import gc
import logging
import weakref

import pytest

from pi_cluster.cluster.errors import NodeLost
from pi_cluster.coordinator.finish_reason import FinishReason
from pi_cluster.coordinator.generation import Generation, GenerationOptions
from pi_cluster.coordinator.listeners import Listeners
from pi_cluster.coordinator.measurement import Measurement


def generation(on_cancel=lambda _: None):
    return Generation([1, 2], GenerationOptions(), Measurement(()), on_cancel)


def test_all_are_told_until_they_are_removed():
    heard, also = [], []
    listeners = Listeners()
    listeners.add(heard.append)
    listeners.tell(1)
    listeners.add(also.append)
    listeners.tell(2)
    listeners.remove(heard.append)
    listeners.remove(heard.append)
    listeners.tell(3)
    assert (heard, also, listeners.failure) == ([1, 2], [2, 3], None)


def test_one_that_raises_is_logged_and_told_no_more_and_the_others_go_on(caplog):
    heard, tries = [], []

    def failing(thing):
        tries.append(thing)
        raise ZeroDivisionError(f"at {thing}")

    listeners = Listeners()
    listeners.add(failing)
    listeners.add(heard.append)
    with caplog.at_level(logging.ERROR):
        listeners.tell(1)
        listeners.tell(2)
    assert (tries, heard) == ([1], [1, 2])
    assert str(listeners.failure) == "at 1"
    assert [record.exc_info[0] for record in caplog.records] == [ZeroDivisionError]


def test_one_that_takes_itself_out_leaves_the_others_in():
    heard = []
    listeners = Listeners()

    def once(thing):
        heard.append(thing)
        listeners.remove(once)

    listeners.add(once)
    listeners.add(heard.append)
    listeners.tell(1)
    listeners.tell(2)
    assert heard == [1, 1, 2]


def test_who_listens_late_to_a_generation_is_told_all_of_it():
    told = generation()
    early, late = [], []
    told.listen(early.append)
    told.tell(5)
    told.tell(6)
    told.listen(late.append)
    told.tell(FinishReason.EOS)
    assert early == late == [5, 6, FinishReason.EOS]


def test_what_is_taken_of_a_generation_counts_as_given():
    told = generation()
    assert [told.take(news) for news in (5, 6, FinishReason.LENGTH)] == [5, 6, None]
    assert (told.ids, told.finish_reason) == ([5, 6], FinishReason.LENGTH)
    with pytest.raises(NodeLost):
        told.take(NodeLost("pi1 stopped answering"))


def test_a_listener_may_cancel_what_it_hears():
    cancelled = []
    told = generation(cancelled.append)
    told.listen(lambda _: told.cancel())
    told.tell(5)
    assert cancelled == [told]


def test_listening_and_iterating_do_not_disturb_each_other():
    heard = []
    told = generation()
    told.listen(heard.append)
    for news in (5, 6, FinishReason.EOS):
        told.tell(news)
    assert list(told) == [5, 6]
    assert heard == [5, 6, FinishReason.EOS]


@pytest.mark.parametrize("end", [FinishReason.EOS, NodeLost("pi1 stopped answering")])
def test_at_the_end_of_a_generation_nobody_who_listened_is_held(end):
    class Reader:
        def __init__(self):
            self.asked, self.heard = generation(), []
            self.asked.listen(self.heard.append)
            self.asked.listen(self.hear)

        def hear(self, news):
            self.heard.append(news)

    reader = Reader()
    reader.asked.tell(5)
    reader.asked.tell(end)
    reader.asked.listen(reader.hear)
    assert reader.heard == [5, 5, end, end, 5, end]
    seen = weakref.ref(reader)
    with _no_collector():
        del reader
        assert seen() is None


def test_a_failure_that_many_are_told_of_holds_on_to_none_but_the_last():
    failure, seen = NodeLost("pi1 stopped answering"), []
    for _ in range(3):
        told = generation()
        seen.append(weakref.ref(told))
        told.tell(failure)
        with contextlib.suppress(NodeLost):
            told.take(failure)
    gc.collect()
    assert [one() for one in seen] == [None, None, told]


@contextlib.contextmanager
def _no_collector():
    """What is free within is so at once, since nothing holds it."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
