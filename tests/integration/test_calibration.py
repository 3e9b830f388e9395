"""Importance that is computed here: a model of each family reads some text, layer by layer."""

import hashlib
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pi_cluster.cluster.errors import CheckpointError, StoreError
from pi_cluster.kernels import unpack
from pi_cluster.shard_tool.importance.calibration import Calibration, calibrated
from pi_cluster.shard_tool.importance.calibration_text import CalibrationText
from pi_cluster.shard_tool.importance.importance import weighable
from pi_cluster.shard_tool.sources.checkpoint import open_checkpoint
from pi_cluster.transformer.errors import PromptError
from pi_cluster.transformer.text.text_files import TextFiles
from tests.support.checkpoints import random_weights, small_config, write_hugging_face_checkpoint
from tests.support.gguf_models import Type, gguf_config, write_gguf
from tests.support.goldens import CASES, GOLDENS
from tests.support.mixed_models import plain_logits
from tests.support.stores import shard

ROOT = Path(__file__).parents[2]
TOKENIZER = ROOT / "storyteller" / "checkpoint" / "tokenizer.model"
SMALL = small_config(vocab_size=2048)
STORY = "Once upon a time, there lived a brave fox who found a kite by the pond. " * 120


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint")
    write_hugging_face_checkpoint(folder, SMALL)
    shutil.copy(TOKENIZER, folder)
    return folder


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "story.txt"
    path.write_text(STORY)
    return path


def whole(tensor):
    if hasattr(tensor, "matrices"):
        return np.concatenate([unpack(matrix) for matrix in tensor.matrices()])
    return np.concatenate(list(tensor.row_blocks()))


def expected_means(opened, passages):
    """In float64, by arithmetic of its own that holds every matrix and all positions."""
    weights = {name: whole(tensor) for name, tensor in opened.tensors.items()}
    sums = dict.fromkeys(weighable(opened.config), 0.0)
    for ids in passages:
        inputs = {}
        plain_logits(opened.config, weights, np.array(ids), inputs)
        for name in sums:
            sums[name] = sums[name] + (inputs[name] ** 2).sum(0)
    return {name: total / sum(map(len, passages)) for name, total in sums.items()}


def assert_near(found, expected):
    assert found.keys() == expected.keys()
    for name, means in expected.items():
        assert found[name].dtype == np.float32
        np.testing.assert_allclose(found[name], means, rtol=2e-4, atol=1e-7, err_msg=name)


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


class Interruption(Exception):
    pass


def interrupt_in(layer):
    def on_progress(done_bytes, total_bytes, name):
        if name == f"calibrating layer {layer}":
            raise Interruption

    return on_progress


@pytest.mark.parametrize("name", CASES)
def test_means_are_those_of_a_plain_float64_computation_in_every_family(tmp_path, name):
    with open_checkpoint(GOLDENS / name) as opened:
        numbers = np.random.default_rng(1)
        vocab_size = opened.config.vocab_size
        passages = [numbers.integers(0, vocab_size, count).tolist() for count in (70, 70, 9)]
        found = calibrated(opened, passages, tmp_path)
        assert_near(found, expected_means(opened, passages))


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "qwen3"])
def test_a_gguf_of_floats_and_blocks_is_read_as_its_values_are(tmp_path, architecture):
    def type_of(name, shape):
        return Type.Q4_0 if "wq" in name or "w2" in name or "embed" in name else Type.F16

    config = gguf_config(architecture)
    write_gguf(tmp_path / "m.gguf", config, architecture=architecture, type_of=type_of)
    with open_checkpoint(tmp_path / "m.gguf") as opened:
        passages = [list(range(40, 140))]
        found = calibrated(opened, passages, tmp_path / "c")
        assert_near(found, expected_means(opened, passages))


@pytest.mark.parametrize(
    ("tokens", "lengths"), [(1_200, [512, 512, 176]), (512, [512]), (100, [100]), (1, [1])]
)
def test_passages_begin_as_texts_do_and_follow_each_other(checkpoint, text, tokens, lengths):
    given = CalibrationText.read(text)
    with open_checkpoint(checkpoint) as opened:
        passages = given.passages(opened, tokens)
        files = TextFiles(opened.tokenizer_files, opened.config.vocab_size, None)
    assert [len(passage) for passage in passages] == lengths
    assert all(passage[0] == 1 and 1 not in passage[1:] for passage in passages), "<s>"
    joined = [token for passage in passages for token in passage[1:]]
    assert joined == files.tokenizer.encode(STORY)[: len(joined)]


def test_a_text_that_is_shorter_is_read_as_far_as_it_goes(tmp_path, checkpoint):
    path = tmp_path / "short.txt"
    path.write_text("Once upon a time.")
    with open_checkpoint(checkpoint) as opened:
        importance = Calibration(path, tmp_path / "c").importance(opened)
    assert 3 < importance.origin.tokens < 20


def test_it_says_where_it_comes_from(tmp_path, checkpoint, text):
    with open_checkpoint(checkpoint) as opened:
        origin = Calibration(text, tmp_path / "c", 600).importance(opened).origin
    digest = hashlib.sha256(STORY.encode()).hexdigest()
    assert (origin.kind, origin.file_name) == ("calibration", "story.txt")
    assert (origin.sha256, origin.tokens) == (digest, 600)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is empty: give a text"),
        (b" \n\n", "is empty: give a text"),
        (b"caf\xe9", "is not UTF-8 at byte 3: convert it"),
        (None, "cannot read .*No such file"),
    ],
)
def test_what_is_no_text_is_refused(tmp_path, checkpoint, content, why):
    path = tmp_path / "text.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(PromptError, match=why):
        shard(checkpoint, tmp_path / "s", "q4n", weighing=Calibration(path, tmp_path / "c"))


def test_a_text_that_is_larger_than_any_is_refused(tmp_path):
    path = tmp_path / "text.txt"
    with path.open("wb") as file:
        file.truncate((64 << 20) + 1)
    with pytest.raises(PromptError, match="too long"):
        CalibrationText.read(path)


def test_a_checkpoint_without_a_tokenizer_is_told_what_it_lacks(tmp_path, text):
    write_hugging_face_checkpoint(tmp_path / "m", SMALL)
    with pytest.raises(CheckpointError, match=r"has no tokenizer that is read.*--imatrix"):
        shard(tmp_path / "m", tmp_path / "s", "q4n", weighing=Calibration(text, tmp_path / "c"))


@pytest.mark.parametrize("bad", [np.nan, np.inf, 3e38])
def test_weights_that_compute_no_numbers_are_named_by_their_layer(tmp_path, bad):
    weights = random_weights(SMALL)
    weights["layers.1.feed_forward.w2.weight"][:, 3] = bad
    write_hugging_face_checkpoint(tmp_path / "m", SMALL, weights=weights)
    refused = pytest.raises(CheckpointError, match=r"layer 1 of .* not finite")
    with open_checkpoint(tmp_path / "m") as opened, refused:
        calibrated(opened, [[1, 2, 3] * 20], tmp_path / "c")


@pytest.fixture(scope="module")
def calibration_of(checkpoint, tmp_path_factory):
    """What an undisturbed calibration leaves behind."""
    folder = tmp_path_factory.mktemp("undisturbed")
    (folder / "story.txt").write_text(STORY)
    shard(checkpoint, folder / "s", "q4n", weighing=Calibration(folder / "story.txt", folder / "c"))
    return contents(folder / "c"), contents(folder / "s")


@pytest.mark.parametrize("layer", range(SMALL.n_layers))
def test_interrupted_in_any_layer_the_next_run_goes_on_there_to_the_same_bytes(
    tmp_path, checkpoint, text, calibration_of, layer
):
    cache, out = tmp_path / "c", tmp_path / "s"
    with pytest.raises(Interruption):
        stopping = Calibration(text, cache, on_progress=interrupt_in(layer))
        shard(checkpoint, out, "q4n", weighing=stopping)
    told = []
    watched = Calibration(text, cache, on_progress=lambda *progress: told.append(progress))
    shard(checkpoint, out, "q4n", weighing=watched)
    names = list(dict.fromkeys(name for _, _, name in told))
    assert names == [f"calibrating layer {n}" for n in range(layer, SMALL.n_layers)]
    assert told[-1][0] == told[-1][1] and told[0][0] >= told[0][1] * layer // SMALL.n_layers
    assert (contents(cache), contents(out)) == calibration_of


KILL = """
import os, signal, sys
from pathlib import Path
from pi_cluster.shard_tool.importance.calibration import Calibration
from tests.support.stores import shard
def on_progress(done_bytes, total_bytes, name):
    if name == "calibrating layer 2":
        os.kill(os.getpid(), signal.SIGKILL)
checkpoint, text, folder = map(Path, sys.argv[1:])
calibration = Calibration(text, folder / "c", on_progress=on_progress)
shard(checkpoint, folder / "s", "q4n", weighing=calibration)
"""


def test_killed_it_goes_on_to_the_same_bytes(tmp_path, checkpoint, text, calibration_of):
    words = [sys.executable, "-c", KILL, *map(str, (checkpoint, text, tmp_path))]
    run = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert run.returncode == -signal.SIGKILL, run.stderr
    told = []
    watched = Calibration(text, tmp_path / "c", on_progress=lambda *progress: told.append(progress))
    shard(checkpoint, tmp_path / "s", "q4n", weighing=watched)
    assert told[0][2] == "calibrating layer 2"
    assert (contents(tmp_path / "c"), contents(tmp_path / "s")) == calibration_of


@pytest.mark.parametrize(
    "harm",
    [
        lambda data: data[:-100],
        lambda data: b"nothing of the kind",
        lambda data: data.replace(b"layers.1.attention.wo", b"layers.1.attention.wx"),
        lambda data: data.replace(b'"shape":[2048,64]', b'"shape":[64,2048]'),
        lambda data: data[:-64] + b"\xff" * 64,
    ],
    ids=["torn", "another file", "another name", "another shape", "no numbers"],
)
def test_a_state_that_makes_no_sense_is_computed_anew(
    tmp_path, checkpoint, text, calibration_of, harm
):
    with pytest.raises(Interruption):
        stopping = Calibration(text, tmp_path / "c", 2048, on_progress=interrupt_in(2))
        shard(checkpoint, tmp_path / "s", "q4n", weighing=stopping)
    (path,) = (tmp_path / "c").rglob("begun.safetensors")
    data = path.read_bytes()
    path.write_bytes(harm(data))
    assert path.read_bytes() != data
    told = []
    watched = Calibration(text, tmp_path / "c", 2048, lambda *progress: told.append(progress))
    shard(checkpoint, tmp_path / "s", "q4n", weighing=watched)
    assert told[0][2] == "calibrating layer 0"


def test_another_format_of_the_same_model_does_not_wait_for_it_again(
    tmp_path, checkpoint, text, calibration_of
):
    told = []
    calibration = Calibration(text, tmp_path / "c", on_progress=lambda *_: told.append(1))
    shard(checkpoint, tmp_path / "s", "q4n", weighing=calibration)
    told.clear()
    shard(checkpoint, tmp_path / "other", "q4", weighing=calibration)
    assert not told
    assert contents(tmp_path / "c") == calibration_of[0]


def test_another_text_or_length_is_another_store(tmp_path, checkpoint, text):
    cache = tmp_path / "c"
    first = shard(checkpoint, tmp_path / "s", "q4n", weighing=Calibration(text, cache, 512))
    other = tmp_path / "other.txt"
    other.write_text(STORY[::-1])
    for calibration in (Calibration(other, cache, 512), Calibration(text, cache, 513)):
        with pytest.raises(StoreError, match="another checkpoint or of other weights"):
            shard(checkpoint, tmp_path / "s", "q4n", weighing=calibration)
    again = shard(checkpoint, tmp_path / "s", "q4n", weighing=Calibration(text, cache, 512))
    assert again == first


def test_two_at_once_are_not_in_each_other_s_way(tmp_path, checkpoint, text):
    refused = []

    def on_progress(*_):
        if not refused:
            with pytest.raises(StoreError, match="another command calibrates") as caught:
                shard(checkpoint, tmp_path / "2", "q4n", weighing=Calibration(text, tmp_path / "c"))
            refused.append(caught)

    watched = Calibration(text, tmp_path / "c", on_progress=on_progress)
    shard(checkpoint, tmp_path / "1", "q4n", weighing=watched)
    assert refused
