"""Stores whose scales were chosen by how much each column counts."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from pi_cluster.cluster.errors import CheckpointError, StoreError
from pi_cluster.cluster.store.store import Store
from pi_cluster.cluster.store.tensor_file import TensorFile
from pi_cluster.shard_tool.importance.calibration import Calibration
from pi_cluster.shard_tool.importance.imatrix import Imatrix
from tests.support.checkpoints import random_weights, small_config, write_hugging_face_checkpoint
from tests.support.gguf_models import all_in, gguf_config, gguf_name, write_gguf
from tests.support.imatrices import TOKENS, random_sums, write_imatrix
from tests.support.kernel_engines import engine
from tests.support.stores import beside_text, shard

TOKENIZER = Path(__file__).parents[2] / "storyteller" / "checkpoint" / "tokenizer.model"
SMALL = small_config(vocab_size=2048)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint")
    write_hugging_face_checkpoint(folder, SMALL)
    shutil.copy(TOKENIZER, folder)
    return folder


@pytest.fixture
def imatrix(tmp_path):
    path = tmp_path / "imatrix.gguf"
    write_imatrix(path, random_sums(SMALL))
    return Imatrix(path)


def stored(folder, file_name):
    with TensorFile(folder / file_name) as file:
        return {name: np.array(file.map(name)) for name in file.names}


@pytest.mark.parametrize("weights", ["q4", "q4n"])
def test_each_matrix_is_packed_by_its_own_importance(tmp_path, checkpoint, imatrix, weights):
    shard(checkpoint, tmp_path / "s", weights, weights, weighing=imatrix)
    sums, tensors = random_sums(SMALL), random_weights(SMALL)
    for number in range(SMALL.n_layers):
        for name, got in stored(tmp_path / "s", f"layer-{number:02d}.safetensors").items():
            whole = f"layers.{number}.{name}"
            if tensors[whole].ndim == 2:
                counts = sums[gguf_name(whole)] / np.float32(TOKENS)
                expected = engine().pack(tensors[whole], weights, counts).data
                np.testing.assert_array_equal(got, expected, err_msg=whole)
    head = stored(tmp_path / "s", "head.safetensors")["output.weight"]
    counts = sums["output.weight"] / np.float32(TOKENS)
    expected = engine().pack(tensors["output.weight"], weights, counts).data
    np.testing.assert_array_equal(head, expected)
    embedding = stored(tmp_path / "s", "embedding.safetensors")["tok_embeddings.weight"]
    plain = engine().pack(tensors["tok_embeddings.weight"], weights).data
    np.testing.assert_array_equal(embedding, plain)


def test_a_head_of_which_nothing_is_known_is_told_where_that_matters(tmp_path, checkpoint):
    sums = random_sums(SMALL)
    del sums["output.weight"]
    path = tmp_path / "imatrix.gguf"
    write_imatrix(path, sums)
    for outer, told in (("q8", []), ("q4n", ["what the columns of output.weight count"])):
        notes: list[str] = []
        out = tmp_path / outer
        shard(checkpoint, out, "q4n", outer, on_note=notes.append, weighing=Imatrix(path))
        assert len(beside_text(notes)) == len(told)
        assert all(words in note for words, note in zip(told, beside_text(notes), strict=True))


def test_a_store_of_other_importance_is_another_store(tmp_path, checkpoint, imatrix):
    out = tmp_path / "s"
    first = shard(checkpoint, out, "q4n", weighing=imatrix)
    assert shard(checkpoint, out, "q4n", weighing=imatrix) == first
    other = tmp_path / "other.gguf"
    write_imatrix(other, random_sums(SMALL, seed=1))
    for weighing in (None, Imatrix(other)):
        with pytest.raises(StoreError, match="another checkpoint or of other weights"):
            shard(checkpoint, out, "q4n", weighing=weighing)
    assert shard(checkpoint, tmp_path / "plain", "q4n").digest != first.digest


@pytest.mark.parametrize("weights", ["q8", "f16", "f32"])
def test_importance_that_would_change_nothing_is_refused(tmp_path, checkpoint, imatrix, weights):
    with pytest.raises(CheckpointError, match="no use to this store: only q4 and q4n search"):
        shard(checkpoint, tmp_path / "s", weights, weighing=imatrix)
    assert not list((tmp_path / "s").iterdir())


def test_a_gguf_whose_matrices_are_kept_is_refused_and_one_of_floats_is_weighed(tmp_path):
    config = gguf_config()
    imatrix = tmp_path / "imatrix.gguf"
    write_imatrix(imatrix, random_sums(config))
    kept, floats = tmp_path / "kept.gguf", tmp_path / "floats.gguf"
    write_gguf(kept, config, type_of=all_in("Q4_0"))
    with pytest.raises(CheckpointError, match="quantised in a GGUF keeps its values"):
        shard(kept, tmp_path / "k", "q4n", weighing=Imatrix(imatrix))
    write_gguf(floats, config, type_of=all_in("F16"))
    weighed = shard(floats, tmp_path / "w", "q4n", weighing=Imatrix(imatrix))
    assert weighed.digest != shard(floats, tmp_path / "p", "q4n").digest


def test_by_an_imatrix_or_a_calibration_as_people_type_it(tmp_path, checkpoint, imatrix, cluster):
    text = tmp_path / "story.txt"
    text.write_text("Once upon a time, there lived a brave fox who found a kite. " * 60)
    calibration = Calibration(text, tmp_path / "cache", 600)
    both = ("--imatrix", str(imatrix.path)), ("--calibrate", str(text))
    for number, (words, source) in enumerate(zip(both, (imatrix, calibration), strict=True)):
        out = tmp_path / f"typed-{number}"
        more = ("--out", str(out), "--weights", "q4n", "--calibration-tokens", "600")
        made = cluster.run("shard", str(checkpoint), *words, *more)
        assert made.code == 0, made
        expected = shard(checkpoint, tmp_path / f"made-{number}", "q4n", weighing=source)
        assert Store(out).manifest.digest == expected.digest
    folder = Path(cluster.env["XDG_CACHE_HOME"]) / "pi-cluster" / "calibrations"
    assert {path.name for path in folder.rglob("*.safetensors")} == {"means.safetensors"}


def test_an_imatrix_and_a_calibration_exclude_each_other(tmp_path, checkpoint, imatrix, cluster):
    words = ("--imatrix", str(imatrix.path), "--calibrate", str(imatrix.path))
    refused = cluster.run("shard", str(checkpoint), "--out", str(tmp_path / "s"), *words)
    assert refused.code == 2 and "--imatrix and --calibrate" in refused.err
    assert not (tmp_path / "s").exists()
