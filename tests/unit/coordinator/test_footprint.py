"""What a pipeline may hold is chosen and counted before anything is loaded."""

from dataclasses import replace

import pytest

from pi_cluster.cluster import settings
from pi_cluster.cluster.store.manifest import (
    EMBEDDING_NAME,
    HEAD_NAME,
    Manifest,
    ShardFile,
    layer_file_name,
)
from pi_cluster.coordinator.planning.footprint import choose_limits, model_footprint
from pi_cluster.transformer.cache import cache_capacity
from pi_cluster.transformer.config import LayerConfig, ModelConfig, RopeTable
from pi_cluster.transformer.config_form import plain_config
from pi_cluster.transformer.kernel_arithmetic import kernel_shapes, most_cache_bytes
from pi_cluster.transformer.limits import Limits
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
        for cost, shape in zip(footprint.layers, kernel_shapes(config, limits), strict=True):
            assert cost.cache_bytes == texts * shape.cache_bytes_per_layer


DIM, ROWS = 64, 32
WIDE = LayerConfig(n_heads=4, n_kv_heads=2, head_dim=16, hidden_dim=96)
SHORT_SIGHTED = LayerConfig(n_heads=4, n_kv_heads=2, head_dim=16, hidden_dim=96, window=32)
FEW_KEYS = LayerConfig(n_heads=8, n_kv_heads=1, head_dim=16, hidden_dim=160, window=32)
MIXED = ModelConfig(DIM, 130, 1e-5, 1_024, (RopeTable(1e4, 16),), (WIDE, SHORT_SIGHTED, FEW_KEYS))


def test_every_layer_is_counted_by_its_own_file_its_own_window_and_its_own_matrices():
    sizes = [3_000, 1_000, 2_000]
    manifest = manifest_of({layer_file_name(i): size for i, size in enumerate(sizes)})
    limits = Limits(max_step_rows=ROWS, max_sequences=3, context=1_024, cache_positions=2_048)
    footprint = model_footprint(manifest, MIXED, limits)
    assert [cost.weight_bytes for cost in footprint.layers] == sizes
    # Keys and values of 16 half precision numbers a head. The first layer keeps all positions
    # there is room for, the others at most those of three texts: a window and a step each.
    capacity = cache_capacity(32, 1_024, ROWS)
    assert [cost.cache_bytes for cost in footprint.layers] == [
        2 * 2 * 16 * 2 * 2_048,
        2 * 2 * 16 * 2 * 3 * capacity,
        2 * 1 * 16 * 2 * 3 * capacity,
    ]
    one = DIM * (64 + 2 * 32 + 64) + 3 * DIM * 96
    other = DIM * (128 + 2 * 16 + 128) + 3 * DIM * 160
    assert [cost.macs for cost in footprint.layers] == [one, one, other]
    # A step needs the room of the widest layer, wherever that is.
    assert footprint.step_bytes == 4 * (ROWS * (4 * DIM + 3 * 160) + 130)
    assert (footprint.embedding_bytes, footprint.head_bytes) == (500, 700)


def manifest_of(sizes: dict[str, int]) -> Manifest:
    files = {EMBEDDING_NAME: 500, HEAD_NAME: 700} | sizes
    shards = tuple(ShardFile(name, size, "0" * 64) for name, size in files.items())
    return Manifest("q4", "q8", plain_config(MIXED), bos_id=1, eos_ids=(2,), files=shards)


def test_a_layer_with_a_window_is_counted_by_what_its_own_caches_can_hold():
    config = small_config()
    wide, narrow = (replace(config.layers[0], window=window) for window in (None, 32))
    config = replace(config, max_positions=4096, layers=(narrow, wide, narrow))
    slot_bytes = 2 * 2 * 2 * 16  # keys and values of two heads of 16 in half precision
    few, many = choose_limits(config, 4096, 2), choose_limits(config, 4096, 20)
    assert most_cache_bytes(config, few) == tuple(
        slot_bytes * positions for positions in (2 * 4096, 2 * 4096, 2 * 4096)
    )
    most = settings.MAX_SEQUENCES * 576
    assert most < 20 * 4096, "or this shows nothing"
    assert most_cache_bytes(config, many) == tuple(
        slot_bytes * positions for positions in (most, 20 * 4096, most)
    )
