"""Going back, beginning as another's prefix, and the room for it: in numpy and on the kernels."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from pi_cluster.transformer.cache import cache_capacity
from pi_cluster.transformer.config import ModelConfig
from pi_cluster.transformer.errors import StepError
from pi_cluster.transformer.kernel_arithmetic import KernelArithmetic, StageTensors
from pi_cluster.transformer.limits import Limits
from pi_cluster.transformer.numpy_arithmetic import StageWeights, numpy_stage
from pi_cluster.transformer.stage import Chunk, Stage
from tests.support.checkpoints import small_config
from tests.support.kernel_engines import EVERY_VARIANT, engine
from tests.support.packed_weights import packed_weights, parts_of, unpacked
from tests.support.stages import run_prompt, run_step

WINDOW = 32
LIMITS = Limits(max_step_rows=128, max_sequences=3, context=320, cache_positions=640)


def with_windows(*windows: int | None) -> ModelConfig:
    config = small_config()
    layers = zip(config.layers, windows, strict=True)
    return replace(config, layers=tuple(replace(layer, window=w) for layer, w in layers))


CONFIGS = {
    "window": with_windows(WINDOW, WINDOW, WINDOW),
    "no window": with_windows(None, None, None),
    "two windows": with_windows(WINDOW, WINDOW, 90),
    "a layer sees all": with_windows(WINDOW, WINDOW, None),
}
CAPACITY = cache_capacity(WINDOW, LIMITS.context, LIMITS.max_step_rows)
FARTHEST = CAPACITY - WINDOW + 1  # a rollback from a text that has wrapped around

TEXT = np.random.default_rng(70).integers(0, 130, 310)
OTHER = (TEXT + 1) % 130


@pytest.fixture(autouse=True, scope="module")
def _one_blas_thread() -> Iterator[None]:
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="module", params=["numpy", "kernels"])
def arithmetic(request):
    return request.param


@pytest.fixture(scope="module", params=CONFIGS.values(), ids=CONFIGS.keys())
def config(request):
    return request.param


# Indirect: else pytest takes it for another `config`, and keeps `expected` beyond a change of it.
def only(*names):
    chosen = [CONFIGS[name] for name in names]
    return pytest.mark.parametrize("config", chosen, ids=names, scope="module", indirect=True)


@pytest.fixture(scope="module")
def packed():
    return packed_weights(CONFIGS["window"], "q8")


@pytest.fixture
def make_stages(arithmetic, config, packed):
    """Makes pipelines of two stages."""

    def make(limits: Limits = LIMITS) -> list[Stage]:
        return [stage_of(arithmetic, config, packed, cut, limits) for cut in ((0, 1), (1, 3))]

    return make


def stage_of(arithmetic, config, packed, cut, limits) -> Stage:
    if arithmetic == "numpy":
        weights = StageWeights(**parts_of(config, unpacked(packed), *cut))
        return numpy_stage(config, range(*cut), weights, limits)
    tensors = StageTensors(**parts_of(config, packed, *cut))
    kernels = KernelArithmetic(config, range(*cut), tensors, limits, engine(EVERY_VARIANT[0]))
    return Stage(config, range(*cut), kernels, limits)


@pytest.fixture(scope="module")
def expected(arithmetic, config, packed):
    """Logits of the text when nothing else happens."""
    return run_prompt([stage_of(arithmetic, config, packed, (0, 3), LIMITS)], TEXT, 50)[1]


def extend(stages, ids, start, sequence=1, prefix_of=0):
    """Logits of a text from ``start`` on, by steps of at most 100 rows."""
    found = []
    for begin in range(start, len(ids), 100):
        part = ids[begin : begin + 100]
        chunk = Chunk(sequence, begin, len(part), prefix_of if begin == start else 0)
        found.append(run_step(stages, [chunk], part)[1])
    return np.concatenate(found)


def mixed(right: int, length: int) -> np.ndarray:
    """A text that is right up to a position and wrong from there on."""
    return np.concatenate((TEXT[:right], OTHER[right:length]))


@pytest.mark.parametrize("wrong", [1, 7, 64, 100])
@pytest.mark.parametrize("right", [1, 63, 64, 130, 191, 210])
def test_after_wrong_guesses_a_text_goes_on_as_if_they_had_not_been(
    make_stages, expected, right, wrong
):
    stages = make_stages()
    extend(stages, mixed(right, right + wrong), 0)
    assert np.array_equal(extend(stages, TEXT, right), expected[right:])


def test_a_text_may_begin_anew_in_its_place(make_stages, expected):
    stages = make_stages()
    extend(stages, OTHER, 0)
    assert np.array_equal(extend(stages, TEXT, 0), expected)


@only("window", "two windows", "a layer sees all")
class TestWrapped:
    """With a window, old positions are overwritten, and there is a farthest way back.

    It is that of the layer with the least to spare.
    """

    LENGTH = 300
    LEAST = LENGTH - FARTHEST

    def test_a_stage_tells_how_far_back_it_can_go(self, make_stages):
        stages = make_stages()
        extend(stages, TEXT[: self.LENGTH], 0)
        lengths = [self.LEAST - 1, self.LEAST, self.LENGTH, self.LENGTH + 1]
        for stage in stages:
            told = [stage.can_go_back(1, length) for length in lengths]
            assert told == [False, True, True, False]
            assert not stage.can_go_back(2, 0)

    def test_the_farthest_way_back_is_exact_and_one_more_is_refused(self, make_stages, expected):
        stages = make_stages()
        extend(stages, mixed(self.LEAST, self.LENGTH), 0)
        held = [stage.cache_bytes for stage in stages]
        for stage in stages:
            with pytest.raises(StepError) as refusal:
                stage.forward([Chunk(1, self.LEAST - 1, 1)], np.zeros((1, 64), np.float32))
            named = (
                "sequence 1",
                f"position {self.LEAST - 1}",
                f"{self.LENGTH} positions are held",
            )
            assert all(words in str(refusal.value) for words in named)
        assert [stage.cache_bytes for stage in stages] == held
        assert np.array_equal(extend(stages, TEXT, self.LEAST), expected[self.LEAST :])

    def test_a_second_rollback_does_not_reach_what_the_first_text_overwrote(
        self, make_stages, expected
    ):
        stages = make_stages()
        extend(stages, mixed(self.LEAST, self.LENGTH), 0)
        extend(stages, mixed(self.LEAST, 201), 200)
        with pytest.raises(StepError, match="overwritten"):
            extend(stages, TEXT, self.LEAST - 1)
        assert np.array_equal(extend(stages, TEXT, self.LEAST), expected[self.LEAST :])

    def test_a_fork_reaches_as_far_back_as_its_source_and_no_farther(self, make_stages, expected):
        stages = make_stages(Limits(128, 3, 320, 3 * 320))
        extend(stages, mixed(self.LEAST, self.LENGTH), 0)
        with pytest.raises(StepError, match="sequence 2 cannot go on at position"):
            extend(stages, TEXT, self.LEAST - 1, sequence=2, prefix_of=1)
        assert [stage.sequences for stage in stages] == [1, 1]
        found = extend(stages, TEXT, self.LEAST, sequence=2, prefix_of=1)
        assert np.array_equal(found, expected[self.LEAST :])
        # A copy made later in the text goes back as far as the original.
        extend(stages, mixed(self.LEAST, 260), 259, sequence=3, prefix_of=1)
        with pytest.raises(StepError, match="overwritten"):
            extend(stages, TEXT, self.LEAST - 1, sequence=3)
        found = extend(stages, TEXT, self.LEAST, sequence=3)
        assert np.array_equal(found, expected[self.LEAST :])

    def test_a_text_that_began_anew_may_go_back_to_any_position(self, make_stages, expected):
        stages = make_stages()
        extend(stages, OTHER, 0)
        extend(stages, mixed(3, 150), 0)
        assert np.array_equal(extend(stages, TEXT, 3), expected[3:])


@pytest.mark.parametrize("shared", [1, 63, 64, 65, 150, 250, 300])
def test_a_prefix_and_its_source_go_on_apart_with_the_bits_of_each_alone(
    make_stages, expected, shared
):
    stages = make_stages(Limits(128, 3, 320, 3 * 320))
    source = max(shared, 190)
    extend(stages, TEXT[:source], 0)
    extend(stages, mixed(shared, 310), shared, 2, prefix_of=1)
    found = extend(stages, TEXT, shared, 3, prefix_of=1)
    assert np.array_equal(found, expected[shared:])
    assert np.array_equal(extend(stages, TEXT, source), expected[source:])


def test_a_prefix_is_what_was_held_before_the_step(make_stages, expected):
    stages = make_stages()
    extend(stages, TEXT[:100], 0)
    chunks = [Chunk(1, 90, 5), Chunk(2, 100, 10, prefix_of=1)]
    ids = np.concatenate((OTHER[90:95], TEXT[100:110]))
    _, logits = run_step(stages, chunks, ids)
    assert np.array_equal(logits[5:], expected[100:110])
    assert np.array_equal(extend(stages, TEXT, 90), expected[90:])


def zeros(rows):
    return np.zeros((rows, 64), np.float32)


@pytest.mark.parametrize(
    ("chunks", "reason"),
    [
        ([Chunk(1, 71, 1)], "sequence 1 goes on at position 71, but 70 positions are held"),
        ([Chunk(3, 5, 1, prefix_of=9)], "5 positions of sequence 9: 0 are held"),
        ([Chunk(3, 71, 1, prefix_of=1)], "71 positions of sequence 1: 70 are held"),
        ([Chunk(3, 0, 1, prefix_of=1)], "0 positions of sequence 1: 70 are held"),
        ([Chunk(2, 5, 1, prefix_of=1)], "sequence 2 cannot begin as a prefix: 64 positions"),
        ([Chunk(1, 5, 1, prefix_of=1)], "sequence 1 cannot begin as a prefix: 70 positions"),
        ([Chunk(3, 5, 1, prefix_of=3)], "5 positions of sequence 3: 0 are held"),
        ([Chunk(3, 0, 9), Chunk(4, 5, 1, prefix_of=3)], "5 positions of sequence 3: 0 are held"),
        ([Chunk(1, 5, 1), Chunk(3, 9, 1, prefix_of=8)], "9 positions of sequence 8: 0 are held"),
        ([Chunk(3, 64, 1, prefix_of=1)], "the caches would hold 320 positions"),
        ([Chunk(2, 64, 1), Chunk(3, 0, 1)], "the caches would hold 320 positions"),
        ([Chunk(1, 10, 1), Chunk(3, 0, 1), Chunk(4, 0, 1)], "more than 3 sequences at once"),
    ],
)
def test_a_refused_step_changes_nothing(make_stages, expected, chunks, reason):
    stage, _ = stages = make_stages(Limits(128, 3, 320, cache_positions=256))
    extend(stages, TEXT[:70], 0)
    extend(stages, TEXT[:64], 0, sequence=2)
    held = stage.cache_bytes
    with pytest.raises(StepError) as refusal:
        stage.forward(chunks, zeros(sum(chunk.rows for chunk in chunks)))
    assert reason in str(refusal.value)
    assert (stage.sequences, stage.cache_bytes) == (2, held)
    assert np.array_equal(extend(stages, TEXT[:80], 70), expected[70:80])
    stages[1].end(2), stage.end(2)
    assert np.array_equal(extend(stages, TEXT[:90], 60, 2, prefix_of=1), expected[60:90])


def test_room_is_counted_in_tiles_and_comes_back_when_a_text_is_shortened_or_ended(make_stages):
    stage = make_stages(Limits(128, 3, 320, cache_positions=192))[0]
    stage.forward([Chunk(1, 0, 128)], zeros(128))
    stage.forward([Chunk(2, 0, 64)], zeros(64))
    for refused in (Chunk(2, 64, 1), Chunk(1, 128, 1), Chunk(3, 0, 1)):
        with pytest.raises(
            StepError, match="would hold 256 positions, in whole tiles; at most 192"
        ):
            stage.forward([refused], zeros(1))
    stage.forward([Chunk(1, 60, 4), Chunk(2, 64, 1)], zeros(5))
    stage.end(2)
    stage.forward([Chunk(3, 0, 128)], zeros(128))


@only("window")
def test_a_text_that_wraps_around_takes_its_capacity_and_no_more(make_stages):
    stage = make_stages(Limits(128, 3, 320, cache_positions=CAPACITY + 64))[0]
    for start in range(0, 1280, 128):
        stage.forward([Chunk(1, start, 128)], zeros(128))
    stage.forward([Chunk(2, 0, 64)], zeros(64))
    with pytest.raises(StepError, match=f"would hold {CAPACITY + 128} positions"):
        stage.forward([Chunk(2, 64, 1)], zeros(1))
