"""The numpy transformer against what transformers computed; ``make_goldens.py`` made the goldens.

Tolerances are relative to the largest value of the compared array. Both sides compute in float32
and add up to 128 products in different orders, layer after layer: they were found to be 2e-6 apart
at most, and 2e-5 leaves room for another BLAS. The smallest fault tried (see ``make_goldens.py``),
a rotary base twice too large, moves logits by a third of their largest value.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pi_cluster import storyteller
from pi_cluster.cluster.store.manifest import Manifest
from pi_cluster.transformer.config_form import read_config
from pi_cluster.transformer.stage import Stage
from tests.support.goldens import (
    CASES,
    GOLDENS,
    ShardedGolden,
    assert_close,
    greedy,
    load_golden,
    load_stages,
    logits_in_chunks,
    run_stages,
)
from tests.support.stores import shard

STORIES = json.loads((GOLDENS / "storyteller.json").read_text(encoding="utf-8"))


@pytest.fixture(params=CASES)
def golden(request: pytest.FixtureRequest, tmp_path: Path) -> ShardedGolden:
    return ShardedGolden(request.param, tmp_path)


def test_hidden_states_at_every_layer_boundary_are_those_of_transformers(
    golden: ShardedGolden,
) -> None:
    rows = len(golden.ids)
    stages = load_stages(golden.folder, golden.config, rows, size=1)
    hidden = run_stages(stages, golden.ids)
    for boundary in range(golden.n_layers):
        assert_close(hidden[boundary], golden.reference[f"hidden_{boundary}"])
    normed = stages[-1].final_norm(hidden[-1])
    assert_close(normed, golden.reference[f"hidden_{golden.n_layers}"])
    assert_close(stages[-1].logits(hidden[-1]), golden.reference["logits"])


@pytest.mark.parametrize("rows", [1, 7, 200])
def test_logits_are_those_of_transformers_for_any_chunk_size(
    golden: ShardedGolden, rows: int
) -> None:
    assert_close(logits_in_chunks(golden.model(rows), golden.ids, rows), golden.reference["logits"])


def test_chunks_of_seven_give_the_same_bits_as_one_chunk(golden: ShardedGolden) -> None:
    rows = len(golden.ids)
    whole = logits_in_chunks(golden.model(rows), golden.ids, rows)
    assert np.array_equal(logits_in_chunks(golden.model(7), golden.ids, 7), whole)


def test_greedy_ids_are_those_of_transformers(golden: ShardedGolden) -> None:
    expected = golden.reference["greedy"].tolist()
    assert golden.reference["min_top2_gap"] > 0.01  # far above what rounding can turn
    assert greedy(golden.model(7), golden.ids, len(expected)) == expected


def test_consolidated_and_hugging_face_checkpoints_of_the_same_weights_agree_to_the_bit(
    tmp_path: Path,
) -> None:
    hugging_face = ShardedGolden("window", tmp_path)
    consolidated = ShardedGolden("consolidated", tmp_path)
    rows = len(hugging_face.ids)
    first, second = (
        logits_in_chunks(golden.model(rows), hugging_face.ids, rows)
        for golden in (hugging_face, consolidated)
    )
    assert np.array_equal(first, second)


@pytest.fixture(scope="module")
def demo_store(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Manifest]:
    folder = tmp_path_factory.mktemp("storyteller")
    return folder, shard(storyteller.checkpoint_path(), folder, weights="f32")


def load_demo(store: tuple[Path, Manifest], max_step_rows: int, size: int) -> list[Stage]:
    folder, manifest = store
    return load_stages(folder, read_config(manifest.config), max_step_rows, size)


@pytest.mark.parametrize("story", STORIES[2:4], ids=lambda story: story["prompt"])
def test_storyteller_tells_the_story_that_transformers_tells(
    demo_store: tuple[Path, Manifest], story: dict[str, Any]
) -> None:
    model = load_demo(demo_store, max_step_rows=7, size=32)[0]
    expected = story["greedy_ids"]
    assert len(expected) >= 200  # well past the window of 128
    assert greedy(model, np.array(story["prompt_ids"]), len(expected)) == expected


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story["prompt"])
def test_storyteller_logits_after_the_prompt_are_those_of_transformers(
    demo_store: tuple[Path, Manifest], story: dict[str, Any]
) -> None:
    model = load_demo(demo_store, max_step_rows=32, size=32)[0]
    last = logits_in_chunks(model, np.array(story["prompt_ids"]), 32)[-1]
    assert int(last.argmax()) == story["last_logits_argmax"]
    # Of the 32 layers, the one that does least still moves logits by 0.24; rounding by 2e-6.
    np.testing.assert_allclose(last[:8], story["last_logits_first8"], rtol=0, atol=1e-4)


def test_storyteller_hidden_states_at_every_eighth_layer_are_those_of_transformers(
    demo_store: tuple[Path, Manifest],
) -> None:
    reference = load_golden(GOLDENS / "storyteller_hidden.npz")
    stages = load_demo(demo_store, max_step_rows=32, size=8)
    hidden = run_stages(stages, reference["ids"])
    for boundary in range(4):
        assert_close(hidden[boundary], reference[f"hidden_{8 * boundary}"])
    assert_close(stages[-1].logits(hidden[-1])[-1], reference["last_logits"])
