"""Stores of every format: what lies in the files, and how near it is to the checkpoint."""

import numpy as np
import pytest

from pi_cluster.cluster.store.manifest import WEIGHTS
from pi_cluster.cluster.store.tensor_file import TensorFile
from pi_cluster.kernels import PACKABLE_FORMATS, Matrix, packed_bytes, unpack
from pi_cluster.transformer.formats import WeightFormats
from pi_cluster.transformer.weight_bytes import weight_bytes
from tests.support.checkpoints import (
    random_weights,
    small_config,
    write_consolidated_checkpoint,
    write_hugging_face_checkpoint,
)
from tests.support.stores import shard

# 130 rows of the vocabulary, 72 of keys and 36 of w1 and w3 are not whole groups of 16; 144 columns
# of wo and 36 of w2 are not whole blocks of 32.
CONFIG = small_config(n_layers=2, n_kv_heads=3, n_heads=6, head_dim=24, hidden_dim=36)
GRID = np.array(
    [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113], np.float32
)
PAIRS = [(form, form) for form in PACKABLE_FORMATS]
PAIRS += [("q4", "q8"), ("q4", "f16"), ("q8", "q4"), ("f32", "q8"), ("q8", "f32"), ("q4n", "q8")]


def stored_tensors(folder, manifest):
    """Every tensor by its whole name: how the file describes it, and its mapped content."""
    for file in manifest.files:
        prefix = f"layers.{int(file.name[6:8])}." if file.name.startswith("layer-") else ""
        with TensorFile(folder / file.name) as tensors:
            for name in tensors.names:
                yield prefix + name, tensors.info(name), tensors.map(name)


def form_of(name, shape, layers, outer):
    form = layers if name.startswith("layers.") else outer
    return "f16" if form in ("q8", "q4", "q4n") and shape[1] % 32 else form


def scales_of(packed, form, rows, columns):
    """The scale of each row's blocks, from their places in the file. ``(rows, columns / 32)``."""
    block = {"q8": 544, "q4": 288, "q4n": 288}[form]
    groups = packed.reshape(-1, columns // 32, block)[:, :, :32].copy().view(np.float16)
    return groups.transpose(0, 2, 1).reshape(-1, columns // 32)[:rows].astype(np.float32)


def assert_on_the_grid(values, weights, scales):
    """Each value is the nearest one of its block's grid."""
    steps = np.repeat(scales, 32, axis=1)[..., None]
    misses = np.abs(GRID * steps - weights[..., None])
    assert np.isin(values, (GRID * steps)).all()
    near = np.abs(values - weights)
    assert (near <= misses.min(axis=-1) + np.abs(steps[..., 0]) * 1e-4).all()


def assert_half_a_step_away(values, weights, scales, form):
    """Each value is the nearest one that its block's scale allows, clipped at the last."""
    steps = np.repeat(scales, 32, axis=1)
    lowest, highest = {"q8": (-127, 127), "q4": (-8, 7)}[form]
    levels = np.divide(weights, steps, out=np.zeros_like(weights), where=steps != 0)
    within = np.clip(levels, lowest, highest) * steps
    assert (np.abs(values - within) <= np.abs(steps) * 0.5001).all()
    # Few are clipped, and none by much: the scale is one of least squared error.
    assert np.mean((levels < lowest - 0.5) | (levels > highest + 0.5)) < 0.05
    assert (np.abs(values - weights) <= 2 * np.abs(steps)).all()


@pytest.mark.parametrize(("layers", "outer"), PAIRS)
def test_a_store_of_any_format_holds_the_weights_of_the_checkpoint(tmp_path, layers, outer):
    weights = write_hugging_face_checkpoint(tmp_path / "c", CONFIG)
    manifest = shard(tmp_path / "c", tmp_path / "s", layers, outer)
    assert (manifest.weights, manifest.outer_weights) == (layers, outer)
    found = set()
    for name, info, array in stored_tensors(tmp_path / "s", manifest):
        found.add(name)
        expected = weights[name]
        assert info.offset % 64 == 0
        if expected.ndim == 1:
            assert info.dtype == "F32"
            np.testing.assert_array_equal(array, expected)
            continue
        rows, columns = expected.shape
        form = form_of(name, expected.shape, layers, outer)
        if form in ("f32", "f16"):
            assert (info.dtype, info.shape) == (form.upper(), expected.shape)
            np.testing.assert_array_equal(array, expected)  # they all fit half precision
            continue
        assert (info.dtype, info.shape) == ("U8", (packed_bytes(form, rows, columns),))
        values = unpack(Matrix(form, rows, columns, array))
        scales = scales_of(array, form, rows, columns)
        if form == "q4n":
            assert_on_the_grid(values, expected, scales)
        else:
            assert_half_a_step_away(values, expected, scales, form)
    assert found == weights.keys()


@pytest.mark.parametrize(("layers", "outer"), [("q4", "q8"), ("q8", "q4"), ("q4n", "q4n")])
def test_rows_that_are_not_whole_groups_are_padded_with_zeros(tmp_path, layers, outer):
    write_hugging_face_checkpoint(tmp_path / "c", CONFIG)
    manifest = shard(tmp_path / "c", tmp_path / "s", layers, outer)
    padded = set()
    for name, info, array in stored_tensors(tmp_path / "s", manifest):
        rows = random_weights(CONFIG)[name].shape[0]
        if info.dtype == "U8" and rows % 16:
            padded.add(name.removeprefix("layers.0.").removeprefix("layers.1."))
            form = layers if name.startswith("layers.") else outer
            values = unpack(Matrix(form, -(-rows // 16) * 16, 64, array))
            assert values[:rows].any(axis=1).all() and not values[rows:].any()
    short = {"attention.wk", "attention.wv", "feed_forward.w1", "feed_forward.w3"}
    assert padded == {f"{name}.weight" for name in (*short, "tok_embeddings", "output")}


@pytest.mark.parametrize("weights", ["q8", "q4", "q4n"])
def test_every_source_and_dtype_gives_the_same_packed_store(tmp_path, monkeypatch, weights):
    digests = set()
    for dtype in ("bfloat16", "float16", "float32"):
        one, several, mistral = (tmp_path / f"{dtype}-{form}" for form in ("1", "3", "m"))
        write_hugging_face_checkpoint(one, CONFIG, dtype=dtype)
        write_hugging_face_checkpoint(several, CONFIG, dtype=dtype, shards=3)
        write_consolidated_checkpoint(mistral, CONFIG, dtype=dtype)
        for source in (one, several, mistral):
            digests.add(shard(source, tmp_path / f"store-{source.name}", weights).digest)
    # Nor do the blocks in which a tensor is read: here a group of rows, or three, at a time.
    for block_bytes in (1, 3 * 16 * 4 * CONFIG.dim):
        monkeypatch.setattr("pi_cluster.shard_tool.sources.source_tensor.BLOCK_BYTES", block_bytes)
        digests.add(shard(one, tmp_path / f"blocks-{block_bytes}", weights).digest)
    assert len(digests) == 1


def test_formats_that_differ_make_stores_that_differ(tmp_path):
    write_hugging_face_checkpoint(tmp_path / "c", CONFIG)
    stores = [shard(tmp_path / "c", tmp_path / "-".join(pair), *pair) for pair in PAIRS]
    assert len({manifest.digest for manifest in stores}) == len(PAIRS)


@pytest.mark.parametrize("weights", WEIGHTS)
def test_the_size_of_a_store_is_known_before_it_is_there(tmp_path, weights):
    write_hugging_face_checkpoint(tmp_path / "c", CONFIG)
    sizes = weight_bytes(CONFIG, WeightFormats.choose(weights))
    manifest = shard(tmp_path / "c", tmp_path / "s", weights)
    found = {file.name: 0 for file in manifest.files}
    for file in manifest.files:
        with TensorFile(tmp_path / "s" / file.name) as tensors:
            found[file.name] += sum(tensors.map(name).nbytes for name in tensors.names)
    layers = tuple(found[manifest.layer_file(index).name] for index in range(CONFIG.n_layers))
    of_file = found[manifest.embedding_file.name], layers, found[manifest.head_file.name]
    assert of_file == (sizes.embedding, sizes.layers, sizes.head)


def test_each_matrix_of_a_mixture_is_packed_as_a_store_of_its_format_has_it(tmp_path):
    config = small_config(n_layers=5)
    write_hugging_face_checkpoint(tmp_path / "c", config)
    mixed, *whole = (
        {name: array.tobytes() for name, _, array in stored_tensors(tmp_path / form, made)}
        for form in ("q4m", "q4n", "q8")
        for made in [shard(tmp_path / "c", tmp_path / form, form)]
    )
    q4n, q8 = whole
    w2_in_q8 = {f"layers.{layer}.feed_forward.w2.weight" for layer in (0, 4)}
    for name, data in mixed.items():
        is_q8 = name.endswith("wv.weight") or name in w2_in_q8
        assert data == (q8 if is_q8 else q4n)[name], name


def test_the_command_packs_by_default_and_says_what_it_keeps_in_f16(cluster, tmp_path):
    write_hugging_face_checkpoint(tmp_path / "c", CONFIG)
    made = cluster.call("shard", str(tmp_path / "c"), "--out", str(tmp_path / "s"))
    assert (made.code, made.out) == (0, "")
    kept = "attention.wo.weight, feed_forward.w2.weight"
    assert f"kept in f16, their columns are not a multiple of 32: {kept}\n" in made.err
    usual = shard(tmp_path / "c", tmp_path / "usual", "q4m", "q8")
    assert f'"{usual.files[0].sha256}"' in (tmp_path / "s" / "manifest.json").read_text()
    again = cluster.call("shard", str(tmp_path / "c"), "--out", str(tmp_path / "s"))
    assert again.code == 0 and "kept in f16" in again.err


@pytest.mark.parametrize(
    ("words", "formats"),
    [
        (("--weights", "f16"), ("f16", "f16")),
        (("--weights", "f32"), ("f32", "f32")),
        (("--weights", "q8"), ("q8", "q8")),
        (("--weights", "q4"), ("q4", "q8")),
        (("--weights", "q4n"), ("q4n", "q8")),
        (("--outer-weights", "f32"), ("q4m", "f32")),
    ],
    ids=str,
)
def test_the_command_takes_formats_and_says_nothing_where_all_fit(
    cluster, tmp_path, words, formats
):
    write_hugging_face_checkpoint(tmp_path / "c")
    made = cluster.call("shard", str(tmp_path / "c"), "--out", str(tmp_path / "s"), *words)
    assert made.code == 0 and "kept in f16" not in made.err
    assert shard(tmp_path / "c", tmp_path / "s", *formats).weights == formats[0]


def test_the_command_refuses_a_format_that_does_not_exist(cluster, tmp_path):
    write_hugging_face_checkpoint(tmp_path / "c")
    refused = cluster.call(
        "shard", str(tmp_path / "c"), "--out", str(tmp_path / "s"), "--weights=q3"
    )
    assert refused.code == 2 and "q4" in refused.err
    assert not (tmp_path / "s").exists()
