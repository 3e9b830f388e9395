"""What a scheduler would refuse for its size is known before it is asked."""

import pytest

from pi_cluster.coordinator.room import Room
from pi_cluster.coordinator.scheduling.cache_limits import CacheLimits
from pi_cluster.coordinator.served_model import ServedModel
from pi_cluster.transformer.errors import PromptTooLong

MODEL = ServedModel(vocab_size=100, bos_id=1, eos_ids=frozenset({2}), context=64)
ROOMY = Room(MODEL, CacheLimits(2, 256, 64, (), 16))


def test_a_prompt_beyond_the_context_is_refused_with_both_figures():
    with pytest.raises(PromptTooLong, match="has 64 tokens and the pipeline's context is 64"):
        ROOMY.check([5] * 64, 1)
    ROOMY.check([5] * 63, 1000)


@pytest.mark.parametrize(
    ("context", "capacity", "cache_positions", "expected"),
    [(64, 64, 256, 63), (None, 1024, 256, 256), (500, 512, 256, 256), (None, 128, 256, None)],
)
def test_the_longest_prompt_is_one_that_is_taken(context, capacity, cache_positions, expected):
    model = ServedModel(vocab_size=100, bos_id=1, eos_ids=frozenset({2}), context=context)
    room = Room(model, CacheLimits(2, cache_positions, capacity, (), 16))
    assert room.most_prompt_tokens == expected
    room.check([5] * (expected or 10_000), 1)
    if expected:
        with pytest.raises(PromptTooLong):
            room.check([5] * (expected + 1), 1)


def test_an_answer_without_a_length_gets_what_the_caches_have_room_for():
    endless = ServedModel(vocab_size=100, bos_id=1, eos_ids=frozenset({2}), context=None)
    tight = Room(endless, CacheLimits(2, 256, 1024, (), 16))
    assert ROOMY.most_tokens(10, 1024) == 1024  # the context ends it before
    most = tight.most_tokens(10, 1024)
    tight.check([5] * 10, most)
    with pytest.raises(PromptTooLong):
        tight.check([5] * 10, most + 1)
    assert tight.most_tokens(300, 1024) == 1
