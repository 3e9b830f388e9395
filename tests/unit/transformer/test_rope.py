"""Rotary embedding: both row orders, and what a rotation must keep."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pi_cluster.shard_tool.sources.source_tensor import HalfSplit, interleave_rotary_rows
from pi_cluster.transformer.rope import rope_angles, rope_interleaved

THETA = 10_000.0


def rope_half_split(x: np.ndarray, cos: np.ndarray, sin: np.ndarray) -> np.ndarray:
    """Turn heads whose pairs lie half a head apart, as Hugging Face's do."""
    half = x.shape[-1] // 2
    low, high = x[..., :half], x[..., half:]
    cos, sin = cos[:, None, :], sin[:, None, :]
    return np.concatenate((low * cos - high * sin, low * sin + high * cos), axis=-1)


ROTATIONS = [rope_interleaved, rope_half_split]


def random_heads(seed: int, rows: int, heads: int, head_dim: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, heads, head_dim)).astype(np.float32)


def interleaved_order(heads: np.ndarray) -> np.ndarray:
    """Permute entries as shard_tool permutes the rows of wq and wk that compute them."""
    rows, n_heads, head_dim = heads.shape
    as_weight_rows = heads.reshape(rows, -1).T
    return interleave_rotary_rows(as_weight_rows, HalfSplit(head_dim, head_dim)).T.reshape(
        rows, n_heads, head_dim
    )


@pytest.mark.parametrize("head_dim", [2, 6, 64])
def test_interleaved_equals_half_split_under_the_row_order_of_the_store_to_the_bit(head_dim):
    heads = random_heads(1, 5, 3, head_dim)
    angles = rope_angles(np.array([0, 1, 7, 500, 40_000]), head_dim, THETA)
    turned = rope_interleaved(interleaved_order(heads), *angles)
    assert np.array_equal(turned, interleaved_order(rope_half_split(heads, *angles)))
    # With one pair the two orders are one; with more they must differ, or this shows nothing.
    assert (head_dim == 2) == np.array_equal(turned, rope_half_split(heads, *angles))


@pytest.mark.parametrize("factors", [None, tuple(1 + pair / 8 for pair in range(32))])
def test_a_position_alone_turns_as_it_does_among_others_to_the_bit(factors):
    positions = np.array([0, 1, 63, 64, 127, 128, 4_095, 40_000, 1_000_000])
    together = rope_angles(positions, 64, THETA, factors)
    for index, position in enumerate(positions):
        alone = rope_angles(np.array([position]), 64, THETA, factors)
        for one, several in zip(alone, together, strict=True):
            assert one.tobytes() == several[index : index + 1].tobytes()


def test_a_quarter_turn_of_the_first_pair_by_hand():
    # The second pair has cosine 1 and sine 0 and stays.
    cos, sin = np.float32([[0, 1]]), np.float32([[1, 0]])
    heads = np.float32([[[1, 2, 3, 4]]])
    assert rope_interleaved(heads, cos, sin).tolist() == [[[-2, 1, 3, 4]]]
    assert rope_half_split(heads, cos, sin).tolist() == [[[-3, 2, 1, 4]]]


@pytest.mark.parametrize("rotate", ROTATIONS)
@settings(max_examples=40)
@given(position=st.integers(0, 1_000_000), seed=st.integers(0, 1000))
def test_a_rotation_keeps_the_norm_of_every_head(rotate, position, seed):
    heads = random_heads(seed, 1, 2, 32)
    turned = rotate(heads, *rope_angles(np.array([position]), 32, THETA))
    norms = [np.linalg.norm(x.astype(np.float64), axis=-1) for x in (turned, heads)]
    np.testing.assert_allclose(*norms, rtol=1e-6, atol=0)


@pytest.mark.parametrize("rotate", ROTATIONS)
@pytest.mark.parametrize("distance", [0, 1, 77])
def test_scores_depend_on_the_distance_alone(rotate, distance):
    query, key = random_heads(2, 1, 1, 64), random_heads(3, 1, 1, 64)
    scores = []
    for position in (0, 5, 1_234, 100_000):
        turned_query = rotate(query, *rope_angles(np.array([position + distance]), 64, THETA))
        turned_key = rotate(key, *rope_angles(np.array([position]), 64, THETA))
        scores.append(float(np.vdot(turned_query.astype(np.float64), turned_key)))
    np.testing.assert_allclose(scores, scores[0], rtol=0, atol=1e-5)


def test_scores_differ_between_distances():
    heads = np.ones((2, 1, 64), np.float32)
    turned = rope_interleaved(heads, *rope_angles(np.array([0, 1]), 64, THETA))
    assert np.vdot(turned[0], turned[1]) < 63.9


@pytest.mark.parametrize("rotate", ROTATIONS)
def test_position_zero_turns_nothing(rotate):
    heads = random_heads(4, 1, 3, 16)
    assert np.array_equal(rotate(heads, *rope_angles(np.array([0]), 16, THETA)), heads)


@pytest.mark.parametrize("theta", [10_000.0, 1_000_000.0])
def test_angles_at_large_positions_are_as_accurate_as_float32_can_hold(theta):
    position, head_dim = 100_000, 128
    cos, sin = rope_angles(np.array([position]), head_dim, theta)
    assert (cos.dtype, sin.dtype) == (np.float32, np.float32)
    for pair in range(head_dim // 2):
        angle = position * theta ** (-2 * pair / head_dim)
        # Half a unit in the last place of float32, and what float64 loses at an angle of 1e5.
        assert abs(cos[0, pair] - math.cos(angle)) <= 6.1e-8
        assert abs(sin[0, pair] - math.sin(angle)) <= 6.1e-8


def test_factors_divide_how_fast_each_pair_turns():
    factors = (1.0, 1.0, 1.5, 8.0)
    positions = np.array([0, 1, 1_000, 100_000])
    cos, sin = rope_angles(positions, 8, 500_000.0, factors)
    for pair, factor in enumerate(factors):
        for row, position in enumerate(positions):
            angle = int(position) * 500_000.0 ** (-2 * pair / 8) / factor
            assert abs(cos[row, pair] - math.cos(angle)) <= 6.1e-8
            assert abs(sin[row, pair] - math.sin(angle)) <= 6.1e-8
    plain = rope_angles(positions, 8, 500_000.0)
    assert np.array_equal(cos[:, :2], plain[0][:, :2])
    assert not np.array_equal(cos[:, 2:], plain[0][:, 2:])


def test_factors_of_one_change_no_bit():
    positions = np.arange(0, 100_000, 37)
    plain, stretched = (rope_angles(positions, 64, THETA, f) for f in (None, (1.0,) * 32))
    assert np.array_equal(plain, stretched)


def test_only_the_first_entries_of_a_head_are_turned_where_there_are_fewer_angles():
    heads = random_heads(5, 4, 3, 16)
    angles = rope_angles(np.arange(7, 11), 6, THETA)
    turned = rope_interleaved(heads, *angles)
    assert np.array_equal(turned[..., 6:], heads[..., 6:])
    short = np.ascontiguousarray(heads[..., :6])
    assert np.array_equal(turned[..., :6], rope_interleaved(short, *angles))
    assert not np.array_equal(turned[..., :6], short)


def test_half_split_rows_become_neighbours_and_those_behind_the_rotary_part_stay_in_place():
    order = [0, 2, 1, 3, 4, 5, 6, 8, 7, 9, 10, 11]
    for rows in (np.arange(12), np.arange(24).reshape(12, 2)):
        turned = interleave_rotary_rows(rows, HalfSplit(head_dim=6, rotary_dim=4))
        np.testing.assert_array_equal(turned, rows[order])
