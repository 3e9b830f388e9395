"""Sets of ids as bits, and the best candidates among them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pi_cluster.transformer.allowed import (
    bytes_needed,
    fitted,
    holds,
    ids_in,
    is_empty,
    only,
    top_allowed,
)
from pi_cluster.transformer.errors import StepError
from pi_cluster.transformer.sampling import log_sum_exp, top_candidates

sets = st.integers(1, 70).flatmap(
    lambda size: st.tuples(st.just(size), st.sets(st.integers(0, size - 1), min_size=1))
)


def bits_of(ids, size):
    return sum(1 << one for one in ids).to_bytes(bytes_needed(size), "little")


@given(sets)
def test_a_set_holds_its_ids_and_no_others(one):
    size, ids = one
    bits = bits_of(ids, size)
    assert ids_in(bits, size).tolist() == sorted(ids)
    assert {token for token in range(size + 20) if holds(bits, token)} == ids
    assert not is_empty(bits, size)
    assert only(min(ids), size) == bits_of({min(ids)}, size)


@given(sets, st.binary(max_size=6))
def test_sets_of_any_length_become_those_of_the_vocabulary(one, more):
    size, ids = one
    bits = bits_of(ids, size)
    assert fitted(bits + more, size) == bits
    assert fitted(bits.rstrip(b"\0"), size) == bits


def test_bits_behind_the_vocabulary_mean_nothing():
    assert is_empty(b"\x00\xfc", 10)
    with pytest.raises(StepError, match="no id may follow"):
        ids_in(b"\x00\xfc", 10)


@pytest.mark.parametrize("size", [0, 1, 3])
def test_a_set_of_another_length_is_refused(size):
    with pytest.raises(StepError, match=f"{size} bytes say which ids may follow.* takes 2"):
        ids_in(b"\xff" * size, 10)


@given(sets, st.integers(0, 12), st.integers(0, 99))
def test_the_best_of_the_allowed_are_the_first_of_all_that_are_allowed(one, count, seed):
    size, ids = one
    logits = np.random.default_rng(seed).integers(-3, 3, size).astype(np.float32)
    everything = top_candidates(logits, 0).ids.tolist()
    wanted = [token for token in everything if token in ids][: count or None]
    best = top_allowed(logits, count, bits_of(ids, size))
    assert (best.ids.tolist(), best.logits.tolist()) == (wanted, logits[wanted].tolist())


def test_the_log_of_the_sum_does_not_overflow():
    logits = np.array([1000, 1000, -1e30], np.float32)
    assert log_sum_exp(logits) == pytest.approx(1000 + np.log(2))
    assert np.isnan(log_sum_exp(np.array([np.nan, 1], np.float32)))
