"""What a pipeline may hold is chosen and counted before anything is loaded."""

import pytest

from pi_cluster.cluster import settings
from pi_cluster.coordinator.planning.footprint import choose_limits, model_footprint
from pi_cluster.transformer.kernel_arithmetic import kernel_shapes
from tests.support.checkpoints import small_config, write_hugging_face_checkpoint
from tests.support.stores import shard


@pytest.mark.parametrize(
    ("window", "context", "capacity"), [(32, None, 576), (None, None, 1024), (None, 100, 128)]
)
def test_caches_have_room_for_as_many_full_length_texts_as_are_asked_for(window, context, capacity):
    config = small_config(window=window)
    assert choose_limits(config, context).cache_positions == settings.DEFAULT_TEXTS * capacity
    assert choose_limits(config, context, texts=7).cache_positions == 7 * capacity


def test_the_planner_counts_the_room_of_the_caches_not_the_number_of_texts(tmp_path):
    config = small_config()
    write_hugging_face_checkpoint(tmp_path / "checkpoint", config)
    manifest = shard(tmp_path / "checkpoint", tmp_path / "store")
    for texts in (1, 3):
        limits = choose_limits(config, None, texts)
        footprint = model_footprint(manifest, config, limits)
        assert footprint.cache_bytes_per_layer == (
            texts * kernel_shapes(config, limits)[0].cache_bytes_per_layer
        )
