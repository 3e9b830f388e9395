"""How the soak judges memory."""

import pytest

from benchmarks.soak.memory import MOST_GROWTH_MIB, Growth, growths


def test_memory_that_jumps_about_is_flat_and_a_leak_is_not():
    done = list(range(1000, 10_000, 100))
    restless = Growth.of(done, [50 + number % 3 for number in range(len(done))])
    leaking = Growth.of(done, [50 + number / 500 for number in done])
    assert restless.is_flat and abs(restless.slope) < 0.1
    assert not leaking.is_flat and leaking.slope == pytest.approx(2)
    assert leaking.end - leaking.start > MOST_GROWTH_MIB


def test_what_happens_before_all_is_warm_does_not_count():
    samples = [
        (number, {"worker": 10.0 if number < 1000 else 90.0}) for number in range(0, 5000, 50)
    ]
    assert growths(samples, 1000)["worker"].is_flat
    assert not growths(samples, 0)["worker"].is_flat
