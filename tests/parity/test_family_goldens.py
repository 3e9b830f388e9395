"""What workers compute for a model of every family, and that its goldens tell each fault.

The goldens are those of ``test_goldens.py``, which holds numpy to them. ``make_family_goldens.py``
made those of the families beside Mistral.
"""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from pi_cluster.cluster.layer_range import LayerRange
from pi_cluster.coordinator.pooling import Pooled, Pooling
from pi_cluster.shard_tool.sources import hugging_face, tensors
from pi_cluster.transformer.config import LayerConfig, ModelConfig
from pi_cluster.transformer.families.tensor_forms import ROTATED, RowOrder
from pi_cluster.transformer.stage import Stage
from pi_cluster.worker.shards.vault import ShardVault
from pi_cluster.worker.stage.loading import load_stage
from tests.support.goldens import (
    CASES,
    TOLERANCE,
    ShardedGolden,
    greedy,
    limits_of,
    load_stages,
    logits_in_chunks,
    run_stages,
)
from tests.support.kernel_engines import EVERY_VARIANT, engine

BIASED = ["llama-biases", "qwen2", "qwen3-biases"]
NORMED = ["qwen3-biases", "qwen3-tied"]
UNTURNED = ["smollm3-tied", "smollm3-windows"]
FASTEST = EVERY_VARIANT[0]
KERNELS_TOLERANCE = 5e-3  # of the largest logit: their caches are in half precision
WINDOWED = ["ministral", "qwen2", "qwen3-biases", "smollm3-windows"]


def load_workers(golden: ShardedGolden, vault: Path, cuts: list[int], variant: str) -> list[Stage]:
    """The stages that workers would hold, cut before each of ``cuts``."""
    shards = ShardVault(vault)
    for file in golden.manifest.files:
        data = (golden.folder / file.name).read_bytes()
        shards.receive(file.sha256, file.size_bytes, 0, [data])
    bounds = [0, *cuts, golden.n_layers]
    limits = limits_of(max_step_rows=64)
    return [
        load_stage(golden.manifest, LayerRange(*pair), limits, shards, engine(variant)).stage
        for pair in pairwise(bounds)
    ]


@pytest.mark.parametrize("name", CASES)
def test_workers_give_the_logits_and_the_greedy_ids_of_transformers(
    name: str, tmp_path: Path
) -> None:
    golden = ShardedGolden(name, tmp_path)
    (model,) = load_workers(golden, tmp_path / "vault", [], FASTEST)
    logits, expected = logits_in_chunks(model, golden.ids, 7), golden.reference["logits"]
    assert np.abs(logits - expected).max() <= KERNELS_TOLERANCE * np.abs(expected).max()
    ids = golden.reference["greedy"].tolist()
    assert greedy(model, golden.ids, len(ids)) == ids


@pytest.mark.parametrize("name", CASES)
def test_workers_make_the_vectors_that_the_states_of_transformers_give(
    name: str, tmp_path: Path
) -> None:
    golden = ShardedGolden(name, tmp_path)
    (model,) = load_workers(golden, tmp_path / "vault", [], FASTEST)
    states = model.final_norm(run_stages([model], golden.ids[:60])[-1])
    theirs = golden.reference[f"hidden_{golden.n_layers}"][:60].astype(np.float64)
    for pooling, expected in ((Pooling.LAST, theirs[-1]), (Pooling.MEAN, theirs.mean(axis=0))):
        pooled = Pooled(pooling)
        for state in states:
            pooled.add(state)
        vector, wanted = pooled.vector(), expected / np.linalg.norm(expected)
        assert vector.dtype == np.float32 and abs(np.linalg.norm(vector) - 1) < 1e-6
        assert np.abs(vector - wanted).max() <= KERNELS_TOLERANCE


@pytest.mark.parametrize("name", CASES)
def test_workers_give_the_same_bits_whole_and_split_and_with_kernels_of_every_kind(
    name: str, tmp_path: Path
) -> None:
    golden = ShardedGolden(name, tmp_path)
    ids = golden.ids[:60]
    (whole,) = load_workers(golden, tmp_path / "whole", [], FASTEST)
    expected = whole.logits(run_stages([whole], ids)[-1])
    for variant in EVERY_VARIANT:
        split = load_workers(golden, tmp_path / variant, [1, 2], variant)
        assert np.array_equal(split[-1].logits(run_stages(split, ids)[-1]), expected)


def assert_told(golden: ShardedGolden, config: ModelConfig) -> None:
    """The model of ``config`` is off by a thousand times what it may be."""
    model = load_stages(golden.folder, config, len(golden.ids), golden.n_layers)[0]
    logits, expected = model.logits(run_stages([model], golden.ids)[-1]), golden.reference["logits"]
    assert np.abs(logits - expected).max() > 1_000 * TOLERANCE * np.abs(expected).max()


@pytest.mark.parametrize("name", [name for name in CASES if name != "consolidated"])
def test_rows_that_are_paired_in_the_other_order_are_told(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = {one: two for one in RowOrder for two in RowOrder if one is not two}
    monkeypatch.setattr(
        hugging_face,
        "tensor_form",
        lambda family: replace(family.hugging_face, rows=other[family.hugging_face.rows]),
    )
    golden = ShardedGolden(name, tmp_path)
    assert_told(golden, golden.config)


@pytest.mark.parametrize(
    ("name", "kind"), [(n, "bias") for n in BIASED] + [(n, "norm.weight") for n in NORMED]
)
def test_biases_and_gains_that_keep_their_order_beside_rows_that_do_not_are_told(
    name: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = {tensor for tensor in ROTATED if not tensor.endswith(kind)}
    assert kept != ROTATED
    monkeypatch.setattr(tensors, "ROTATED", kept)
    golden = ShardedGolden(name, tmp_path)
    assert_told(golden, golden.config)


FAULTS: dict[str, tuple[list[str], Callable[[LayerConfig], LayerConfig]]] = {
    "no biases on queries, keys and values": (BIASED, lambda x: replace(x, qkv_bias=False)),
    "no bias behind attention": (
        ["llama-biases", "qwen3-biases"],
        lambda layer: replace(layer, o_bias=False),
    ),
    "heads are not normed": (NORMED, lambda layer: replace(layer, qk_norm=False)),
    "every layer is turned": (UNTURNED, lambda layer: replace(layer, rope_table=0)),
    "no layer is turned": (UNTURNED, lambda layer: replace(layer, rope_table=None)),
    "no windows": (WINDOWED, lambda layer: replace(layer, window=None)),
    "windows a position narrower": (
        WINDOWED,
        lambda layer: replace(layer, window=layer.window and layer.window - 1),
    ),
}


@pytest.mark.parametrize(
    ("name", "fault"), [(name, fault) for fault, (names, _) in FAULTS.items() for name in names]
)
def test_a_layer_that_is_described_wrongly_is_told(name: str, fault: str, tmp_path: Path) -> None:
    golden = ShardedGolden(name, tmp_path)
    change = FAULTS[fault][1]
    layers = tuple(change(layer) for layer in golden.config.layers)
    assert layers != golden.config.layers
    assert_told(golden, replace(golden.config, layers=layers))


def test_windows_that_are_on_the_other_layers_are_told(tmp_path: Path) -> None:
    golden = ShardedGolden("ministral", tmp_path)
    layers = golden.config.layers
    assert_told(golden, replace(golden.config, layers=layers[1:] + layers[:1]))


def test_a_llama_3_whose_scaling_is_passed_over_is_told(tmp_path: Path) -> None:
    golden = ShardedGolden("llama3-tied", tmp_path)
    (table,) = golden.config.rope_tables
    assert table.factors
    plain = replace(golden.config, rope_tables=(replace(table, factors=None),))
    assert_told(golden, plain)
