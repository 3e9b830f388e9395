"""A draft model as one stage on this machine: what it computes, what it holds, what it refuses."""

import numpy as np
import pytest

from pi_cluster.cluster.errors import StoreError
from pi_cluster.cluster.store.store import Store
from pi_cluster.coordinator.drafting.draft_engine import DraftFailed
from pi_cluster.coordinator.planning.footprint import draft_limits, model_footprint
from pi_cluster.deploy.drafting.stage_engine import open_engine
from pi_cluster.transformer.config_form import read_config
from pi_cluster.transformer.stage import Chunk
from tests.support.checkpoints import small_config, write_hugging_face_checkpoint
from tests.support.serving import whole_model
from tests.support.stages import run_step
from tests.support.stores import shard

VOCAB = small_config().vocab_size


def made(folder, **changes):
    write_hugging_face_checkpoint(folder / "checkpoint", small_config(**changes))
    shard(folder / "checkpoint", folder / "store", "f32")
    return Store(folder / "store")


@pytest.fixture(scope="module")
def rolling(tmp_path_factory):
    """With a window, so that texts grow without end."""
    return made(tmp_path_factory.mktemp("rolling"), window=32)


@pytest.fixture(scope="module")
def ending(tmp_path_factory):
    """Without a window: texts end with the context."""
    return made(tmp_path_factory.mktemp("ending"), window=None)


def ids(count, seed=0):
    return np.random.default_rng(seed).integers(0, VOCAB, count).tolist()


def expected(store, text):
    """The logits behind a text, computed in one go by a stage of its own."""
    config = read_config(store.manifest.config)
    whole = whole_model(store, draft_limits(config, 512))
    return run_step([whole], [Chunk(1, 0, len(text))], np.array(text))[1][-1]


def test_what_comes_in_parts_and_after_going_back_is_what_the_text_gives(rolling):
    text = ids(20)
    with open_engine(rolling, VOCAB, 512, 1) as engine:
        engine.compute(7, 0, text[:12])
        np.testing.assert_array_equal(engine.compute(7, 12, text[12:]), expected(rolling, text))
        engine.compute(7, 10, ids(6, seed=1))
        np.testing.assert_array_equal(engine.compute(7, 10, text[10:]), expected(rolling, text))
        np.testing.assert_array_equal(engine.compute(7, 0, text[5:]), expected(rolling, text[5:]))


def test_a_long_text_is_caught_up_with_in_steps(rolling):
    text = ids(300)
    with open_engine(rolling, VOCAB, 512, 1) as engine:
        by_ones = engine.compute(1, 0, text)
        engine.compute(2, 0, text[:299])
        np.testing.assert_array_equal(engine.compute(2, 299, text[299:]), by_ones)


def test_it_tells_how_far_a_text_can_go_back(rolling):
    with open_engine(rolling, VOCAB, 512, 1) as engine:
        assert not engine.can_go_back(1, 0)
        engine.compute(1, 0, ids(1000))
        assert engine.can_go_back(1, 990)
        assert not engine.can_go_back(1, 1001)
        assert not engine.can_go_back(1, 500)
        with pytest.raises(DraftFailed, match="overwritten"):
            engine.compute(1, 500, [1])
        engine.compute(1, 0, [1])


def test_its_memory_is_what_was_planned_whatever_is_asked(rolling, ending):
    for store in (rolling, ending):
        config = read_config(store.manifest.config)
        limits = draft_limits(config, 256)
        footprint = model_footprint(store.manifest, config, limits)
        planned = footprint.cost(footprint.all_layers).cache_bytes
        with open_engine(store, VOCAB, 256, 1) as engine:
            longest = engine.most_positions or 2000
            for sequence in range(1, engine.most_texts + 1):
                engine.compute(sequence, 0, ids(longest))
            assert 0 < engine._stage.cache_bytes <= planned
            with pytest.raises(DraftFailed, match="sequences at once"):
                engine.compute(99, 0, [1])
            engine.end(1)
            engine.compute(99, 0, [1])
            assert engine._stage.cache_bytes <= planned


def test_a_text_beyond_the_context_is_refused(ending):
    with open_engine(ending, VOCAB, 64, 1) as engine:
        assert engine.most_positions == 64
        engine.compute(1, 0, ids(64))
        with pytest.raises(DraftFailed, match="the context is 64"):
            engine.compute(1, 64, [1])


def test_ids_that_it_does_not_know_are_refused_and_its_own_are_not_guessed(rolling):
    with open_engine(rolling, VOCAB - 9, 512, 1) as engine:
        assert engine.compute(1, 0, [VOCAB - 1]).shape == (VOCAB - 9,)
        with pytest.raises(DraftFailed, match=f"token id {VOCAB} is outside"):
            engine.compute(1, 1, [VOCAB])
    with open_engine(rolling, VOCAB + 9, 512, 1) as engine:
        logits = engine.compute(1, 0, [1])
    np.testing.assert_array_equal(logits, [*expected(rolling, [1]), *[-np.inf] * 9])


def test_what_is_no_number_is_no_guess(tmp_path):
    store = made(tmp_path)
    file = store.path_of(store.manifest.head_file)
    data = bytearray(file.read_bytes())
    data[-4096:] = b"\xff" * 4096
    file.write_bytes(data)
    with open_engine(store, VOCAB, 512, 1) as engine, pytest.raises(DraftFailed, match="no number"):
        engine.compute(1, 0, [1])


def test_a_torn_file_is_named(tmp_path):
    store = made(tmp_path)
    file = store.path_of(store.manifest.layer_file(1))
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(StoreError, match=file.name), open_engine(store, VOCAB, 512, 1):
        pass


def test_nothing_is_computed_once_it_is_closed(rolling):
    with open_engine(rolling, VOCAB, 512, 1) as engine:
        engine.compute(1, 0, [1])
    with pytest.raises(DraftFailed, match="closed"):
        engine.compute(1, 1, [1])
