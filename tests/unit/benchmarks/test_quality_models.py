"""The models of bench-quality: its arithmetic, its changes that change nothing, its checkpoints."""

from dataclasses import replace

import gguf
import numpy as np
import pytest

from benchmarks.quality.checkpoint import layers_alone, write_checkpoint, write_imatrix
from benchmarks.quality.equivalents import permuted, rotated
from benchmarks.quality.float_model import (
    ATTENTION_POST_NORM,
    FFN_POST_NORM,
    MATRICES,
    FloatModel,
    FloatWeights,
)
from benchmarks.quality.formats import rounded
from benchmarks.quality.measuring import second_moments
from pi_cluster.cluster.store.store import Store
from pi_cluster.coordinator.evaluating.passages import Passage
from pi_cluster.kernels import NumpyPacker, unpack
from pi_cluster.shard_tool.convert import shard
from pi_cluster.shard_tool.sources.names import layer_tensor, tensor_shapes
from pi_cluster.transformer.config import LayerConfig, ModelConfig, RopeTable
from pi_cluster.transformer.formats import WeightFormats
from pi_cluster.transformer.limits import Limits
from pi_cluster.transformer.numpy_arithmetic import StageWeights, numpy_stage
from pi_cluster.transformer.shapes import layer_shapes
from pi_cluster.transformer.stage import Chunk

IDS = list(np.random.default_rng(2).integers(0, 96, 24))
LAYER = LayerConfig(n_heads=4, n_kv_heads=2, head_dim=16, hidden_dim=96)
CLOSE = 2e-4  # logits here reach some tens


def weights_of(layer: LayerConfig, *, has_post_norms: bool = False) -> FloatWeights:
    """A model of two layers with random weights and gains."""
    draw = np.random.default_rng(1)
    tables = (RopeTable(10_000.0, layer.head_dim),)
    config = ModelConfig(64, 96, 1e-5, 128, tables, (layer,) * 2)
    tensors = {
        name: draw.normal(1 if len(shape) == 1 else 0, 0.3, shape).astype(np.float32)
        for name, shape in tensor_shapes(config).items()
    }
    if not has_post_norms:
        return FloatWeights(config, tensors)
    for index in range(config.n_layers):
        for post in (ATTENTION_POST_NORM, FFN_POST_NORM):
            tensors[layer_tensor(index, post)] = draw.normal(1, 0.3, 64).astype(np.float32)
    return FloatWeights(config, tensors, embedding_scale=8.0, has_gelu=True)


def logits_of(weights: FloatWeights) -> np.ndarray:
    model = FloatModel(weights)
    return model.logits(model.states(IDS))


@pytest.mark.parametrize(
    "layer", [LAYER, replace(LAYER, window=5), replace(LAYER, qk_norm=True, query_scale=0.2)]
)
def test_the_float_model_computes_what_the_specification_does(layer):
    weights = weights_of(layer)
    config, tensors = weights.config, weights.tensors
    of_layers = [
        {name: tensors[layer_tensor(index, name)] for name in layer_shapes(layer, config.dim)}
        for index in range(config.n_layers)
    ]
    outer = StageWeights(of_layers, tensors, tensors)
    limits = Limits(max_step_rows=32, max_sequences=1, context=64, cache_positions=128)
    stage = numpy_stage(config, range(config.n_layers), outer, limits)
    wanted = stage.logits(stage.forward([Chunk(0, 0, len(IDS))], stage.embed(np.array(IDS))))
    np.testing.assert_allclose(logits_of(weights), wanted, rtol=0, atol=CLOSE)


@pytest.mark.parametrize("change", [permuted, rotated])
def test_other_weights_compute_the_same_function(change):
    weights = weights_of(LAYER)
    changed = change(weights, 3)
    for name in weights.layer_matrices():
        assert not np.allclose(changed.tensors[name], weights.tensors[name]), name
    np.testing.assert_allclose(logits_of(changed), logits_of(weights), rtol=0, atol=CLOSE)


def test_a_model_with_gains_behind_its_blocks_can_be_permuted_and_not_turned():
    weights = weights_of(replace(LAYER, qk_norm=True), has_post_norms=True)
    changed = permuted(weights, 3)
    np.testing.assert_allclose(logits_of(changed), logits_of(weights), rtol=0, atol=CLOSE)
    with pytest.raises(AssertionError):
        rotated(weights, 3)


def test_permuting_takes_apart_the_neighbours_that_shared_a_grid():
    weights = weights_of(replace(LAYER, hidden_dim=1024))
    name = layer_tensor(0, "feed_forward.w2.weight")
    blocks = np.repeat(np.arange(1024 // 32, dtype=np.float32), 32) + 1
    marked = weights.with_tensors({name: np.broadcast_to(blocks, (64, 1024))})
    found = np.abs(permuted(marked, 3).tensors[name])
    assert min(len(set(block)) for block in found.reshape(-1, 32).tolist()) > 10


def test_a_model_s_head_stays_its_embedding_where_nothing_is_folded():
    weights = weights_of(LAYER)
    tied = weights.with_tensors({"output.weight": weights.tensors["tok_embeddings.weight"]})
    changed = permuted(tied, 3).tensors
    assert changed["output.weight"] is changed["tok_embeddings.weight"]


@pytest.mark.parametrize("form", ["f32", "q8", "q4n"])
def test_what_a_store_keeps_of_a_written_checkpoint_is_what_the_packer_makes(tmp_path, form):
    weights, packer = weights_of(replace(LAYER, window=5)), NumpyPacker(1)
    folder, store = tmp_path / "checkpoint", tmp_path / "store"
    folder.mkdir()
    write_checkpoint(weights, folder)
    shard(folder, store, WeightFormats.choose(form, "f32"), packer)
    kept = rounded(Store(store))
    assert list(kept.tensors) == weights.layer_matrices()
    for name, found in kept.tensors.items():
        wanted = packer.pack(weights.tensors[name], form)
        np.testing.assert_array_equal(found, unpack(wanted))
    assert kept.bits_of(weights) == {"f32": 32, "q8": 8.5, "q4n": 4.5}[form]


def test_a_model_that_is_not_computed_goes_through_a_store_all_the_same(tmp_path):
    weights = weights_of(replace(LAYER, qk_norm=True), has_post_norms=True)
    write_checkpoint(layers_alone(weights), tmp_path)
    store = tmp_path / "store"
    shard(tmp_path, store, WeightFormats.choose("f32"), NumpyPacker(1))
    for name, found in rounded(Store(store)).tensors.items():
        np.testing.assert_array_equal(found, weights.tensors[name])


def test_importance_is_the_mean_square_of_what_each_matrix_multiplies(tmp_path):
    weights = weights_of(LAYER)
    seen: dict[str, list[np.ndarray]] = {}
    model = FloatModel(weights, lambda name, rows: seen.setdefault(name, []).append(rows))
    passages = [Passage(IDS[:10]), Passage(IDS[5:])]
    for passage in passages:
        model.states(passage.prompt)
    importance, positions = second_moments(weights, passages)
    assert positions == 9 + 18 and importance.keys() == seen.keys()
    assert set(weights.layer_matrices()) == importance.keys()
    for name, rows in seen.items():
        wanted = np.mean(np.square(np.concatenate(rows)), axis=0)
        np.testing.assert_allclose(importance[name], wanted, rtol=1e-5)

    path = tmp_path / "imatrix.gguf"
    write_imatrix(importance, positions, path)
    tensors = {tensor.name: tensor.data for tensor in gguf.GGUFReader(path).tensors}
    assert len(tensors) == 2 * len(MATRICES) * weights.config.n_layers
    assert tensors["blk.1.ffn_down.weight.counts"].ravel().tolist() == [positions]
    np.testing.assert_allclose(
        tensors["blk.1.ffn_down.weight.in_sum2"].ravel() / positions,
        importance["layers.1.feed_forward.w2.weight"],
        rtol=1e-5,
    )
