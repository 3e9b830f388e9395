"""Guesses from what followed the same ids before, in this text or another."""

import random

import pytest

from pi_cluster.coordinator.drafting.recycled import ORDERS, RecycledIds
from pi_cluster.coordinator.drafting.usual import usual_drafters
from pi_cluster.transformer.sampling_settings import SamplingSettings

GREEDY = SamplingSettings(temperature=0)


def begun(table, text=()):
    return table.begin(text, GREEDY, lambda: None)


@pytest.mark.parametrize("order", ORDERS)
def test_a_text_goes_on_as_another_did(order):
    table = RecycledIds(order)
    begun(table).add([1, 2, 3, 4, 5, 6, 7])
    drafter = begun(table, [9, 1, 2, 3])
    assert drafter.next_id == 4
    assert drafter.guess([], 9) == [4, 5, 6, 7]
    assert drafter.guess([4, 5], 1) == [6]


def test_what_followed_last_counts():
    table = RecycledIds(2)
    drafter = begun(table)
    drafter.add([1, 2, 3, 1, 2, 4, 1, 2])
    assert drafter.next_id == 4


def test_nothing_is_guessed_from_fewer_ids_than_it_looks_at_nor_from_unknown_ones():
    table = RecycledIds(3)
    begun(table).add([1, 2, 3, 4])
    assert begun(table, [2, 3]).next_id is None
    assert begun(table, [2, 3]).guess([], 4) == []
    assert begun(table, [7, 2, 3]).guess([], 4) == []
    assert begun(table, [1, 2]).guess([3], 2) == [4]


def test_the_tables_stay_within_their_bytes_and_forget_what_is_old():
    tables = [source for source in usual_drafters() if isinstance(source, RecycledIds)]
    assert sum(table.size_bytes for table in tables) <= 16 * 2**20
    table = RecycledIds(2, slots=64)
    drafter, draw = begun(table), random.Random(1)
    text = [draw.randrange(150_000) for _ in range(1000)]
    drafter.add(text)
    known = [at for at in range(2, len(text)) if table.after(text[at - 2 : at]) == text[at]]
    assert 30 < len(known) <= 64 and min(known) > 400, "the latest are known"
    assert table.after([1, 2]) is None
