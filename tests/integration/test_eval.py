"""``eval`` over real workers: the same figures whatever the split, and those of plain numpy."""

import json
import re
import shutil
import signal

import numpy as np
import pytest

from pi_cluster import storyteller
from pi_cluster.cluster.store.store import Store
from pi_cluster.coordinator.text_model import TextModel
from pi_cluster.transformer.config_form import read_config
from pi_cluster.transformer.shapes import embedding_shapes, head_shapes, layer_shapes
from tests.parity.plain_forward import Shape, forward
from tests.support.checkpoints import small_config, write_hugging_face_checkpoint
from tests.support.cluster_process import eventually
from tests.support.goldens import load_file
from tests.support.servers import kept_waiting, serving
from tests.support.stores import shard

CONTEXT = 200  # wider than the window of 128
TEXT = "".join(
    f"{name} the {animal} lived near the woods. One day {name} found a lost {thing} in a tree. "
    f'"I will help you," said the {animal}. The sun was warm, and they played all day.\n'
    for name in ("Tom", "Lily", "Max", "Anna")
    for animal in ("fox", "bear")
    for thing in ("kite", "ball")
)
PATIENCE_S = 90.0
EVAL = ("eval", "--context", str(CONTEXT), "--format", "json")


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text(TEXT, encoding="utf-8")
    return str(path)


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """The embedded model in three formats."""
    folder = tmp_path_factory.mktemp("stores")
    for weights in ("f32", "f16", "q4"):
        shard(storyteller.checkpoint_path(), folder / weights, weights)
    return folder


@pytest.fixture(scope="module", params=[1, 2, 3], ids=["one worker", "two", "three"])
def found(request, make_cluster, stores, text):
    """What is found of the model in q4, by itself and against f32, and in f32, on some workers."""
    with make_cluster() as cluster:
        cluster.up(str(stores / "f32"), "--local", str(request.param))
        wide = cluster.run(*EVAL, text).json()
        cluster.up(str(stores / "q4"), "--local", str(request.param))
        alone = cluster.run(*EVAL, text).json()
        against = cluster.run(*EVAL, text, "--against", str(stores / "f32")).json()
        itself = cluster.run(*EVAL, text, "--against", str(stores / "q4"), "--chunks", "1").json()
        yield {"wide": wide, "alone": alone, "against": against, "itself": itself}


@pytest.fixture(scope="module")
def plain(stores):
    """The log-probabilities of all ids at each scored row, by plain numpy in float64."""
    store = Store(stores / "f32")
    config = read_config(store.manifest.config)
    weights = load_file(store.path, "embedding.safetensors", embedding_shapes(config))
    weights |= load_file(store.path, "head.safetensors", head_shapes(config))
    for number, layer in enumerate(config.layers):
        name = f"layer-{number:02d}.safetensors"
        own = load_file(store.path, name, layer_shapes(layer, config.dim))
        weights |= {f"layers.{number}.{key}": value for key, value in own.items()}
    weights = {name: value.astype(np.float64) for name, value in weights.items()}
    shape = Shape(32, 4, 2, 32, config.norm_eps, 10_000.0, (128,) * 32)
    ids = TextModel(store.path, store.manifest).raw_ids(TEXT)
    rows, targets = [], []
    for start in range(0, len(ids) - CONTEXT + 1, CONTEXT):
        passage = [1, *ids[start + 1 : start + CONTEXT]]
        logits = forward(passage, weights, shape, interleaved=True)[1]
        rows.append(logits[CONTEXT // 2 : CONTEXT - 1])
        targets += passage[CONTEXT // 2 + 1 :]
    logits = np.concatenate(rows)
    logits -= logits.max(axis=1, keepdims=True)
    logits -= np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return logits, np.array(targets)


_FIRST = {}


def test_the_figures_are_the_same_to_the_last_digit_whatever_the_split(found):
    told = json.dumps(found)
    assert told == _FIRST.setdefault("told", told)


def test_the_perplexity_is_that_of_plain_numpy(found, plain):
    logits, targets = plain
    nll = -logits[np.arange(len(targets)), targets]
    perplexity = np.exp(nll.mean())
    error = perplexity * nll.std(ddof=1) / np.sqrt(len(nll))
    told = found["wide"]
    assert (told["tokens"], told["context"]) == (len(targets), CONTEXT)
    assert told["passages"] * (CONTEXT - 1 - CONTEXT // 2) == len(targets)
    assert told["perplexity"]["value"] == pytest.approx(perplexity, rel=1e-4)
    assert told["perplexity"]["standard_error"] == pytest.approx(error, rel=1e-3)
    # Another half of each passage, or a row beside, would be seen.
    shifted = -logits[np.arange(len(targets)), np.roll(targets, 1)]
    assert abs(np.exp(shifted.mean()) / perplexity - 1) > 0.5


def test_a_reference_adds_its_figures_and_changes_none(found):
    against, distance = found["against"], found["against"]["against"]
    assert against | {"against": None} == found["alone"]
    assert distance["perplexity"]["value"] == pytest.approx(
        found["wide"]["perplexity"]["value"], rel=1e-12
    )
    ratio = against["perplexity"]["value"] / distance["perplexity"]["value"]
    assert distance["perplexity_ratio"]["value"] == pytest.approx(ratio, rel=1e-12)
    assert 1e-4 < distance["divergence"]["value"] < 0.5
    assert distance["divergence"]["standard_error"] > 0
    assert 0 <= distance["divergence_median"] < distance["divergence_p90"]
    assert distance["divergence_p90"] < distance["divergence_p99"] < distance["divergence_max"]
    assert 0.7 < distance["same_top"]["value"] < 1


def test_a_model_is_at_no_distance_from_itself(found):
    told, distance = found["itself"], found["itself"]["against"]
    assert told["passages"] == 1
    assert distance["divergence"] == {"value": 0, "standard_error": 0}
    assert distance["divergence_max"] == 0
    assert distance["same_top"] == distance["perplexity_ratio"] == {"value": 1, "standard_error": 0}
    assert distance["perplexity"] == told["perplexity"]


def test_a_fault_in_the_arithmetic_is_seen(make_cluster, stores, text, tmp_path):
    """The model against one that turns its pairs too slowly: both are as their manifests say."""
    checkpoint = tmp_path / "checkpoint"
    shutil.copytree(storyteller.checkpoint_path(), checkpoint)
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps(config | {"rope_theta": 20_000.0}))
    shard(checkpoint, tmp_path / "faulty", "f16")
    with make_cluster() as cluster:
        cluster.up(str(tmp_path / "faulty"), "--local", "1")
        told = cluster.run(*EVAL, text, "--against", str(stores / "f16")).json()["against"]
    assert told["divergence"]["value"] > 0.001 and told["perplexity_ratio"]["value"] != 1


def test_tables_have_each_figure(story, text, stores):
    words = ("eval", "--context", "200", "--chunks", "2", text, "--against", str(stores / "f16"))
    table, markdown = story.run(*words).out, story.run(*words, "--format", "md").out
    told = story.run(*words, "--format", "json").json()
    for shown in (table, markdown):
        assert f"{told['perplexity']['value']:.4f}" in shown
        assert f"{told['against']['divergence']['value']:.6f}" in shown
        assert f"{100 * told['against']['same_top']['value']:.2f}" in shown
        assert f"{told['tokens']} tokens scored, in 2 passages of 200" in " ".join(shown.split())
    assert markdown.startswith("| measure | value | standard error |\n| --- | ---: | ---: |\n")


def test_a_text_may_come_from_standard_input(story, text):
    piped = story.run(*EVAL, "-", stdin=TEXT.encode())
    assert piped.json() == story.run(*EVAL, text).json()


def test_what_cannot_be_evaluated_is_refused_by_name(story, text, stores, tmp_path):
    (tmp_path / "short").write_text("A fox.")
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "latin").write_bytes("Füchse".encode("latin-1"))
    write_hugging_face_checkpoint(tmp_path / "checkpoint", small_config())
    shard(tmp_path / "checkpoint", tmp_path / "other", "f32")
    damaged = tmp_path / "damaged"
    shutil.copytree(stores / "f16", damaged)
    with (damaged / "layer-03.safetensors").open("r+b") as file:
        file.seek(-5, 2)
        file.write(b"\xff")
    for words, code, said in (
        ((tmp_path / "short",), 1, "a passage 200: give a longer text"),
        ((tmp_path / "empty",), 1, "is empty"),
        ((tmp_path / "latin",), 1, "is not UTF-8 at byte 1"),
        ((tmp_path / "gone",), 1, "No such file"),
        ((text, "--context", "8"), 2, "--context"),
        ((text, "--chunks", "0"), 2, "--chunks"),
        ((text, "--against", tmp_path / "nowhere"), 1, "there is no store at"),
        ((text, "--against", tmp_path / "other"), 1, "a vocabulary of 130 tokens"),
        ((text, "--against", damaged), 1, "layer-03.safetensors was changed"),
    ):
        outcome = story.call(*EVAL, *map(str, words))
        assert (outcome.code, outcome.out) == (code, ""), outcome
        assert said in " ".join(outcome.err.split()), outcome.err


def test_a_store_whose_tokenizer_reads_otherwise_is_refused(story, text, stores, tmp_path):
    checkpoint = tmp_path / "checkpoint"
    shutil.copytree(storyteller.checkpoint_path(), checkpoint)
    (checkpoint / "tokenizer_config.json").unlink()
    values = json.loads((checkpoint / "config.json").read_text())
    added = {"found": values["vocab_size"] - 1}
    (checkpoint / "added_tokens.json").write_text(json.dumps(added))
    shard(checkpoint, tmp_path / "store", "f32")
    outcome = story.call(*EVAL, text, "--against", str(tmp_path / "store"))
    assert outcome.code == 1 and "has another tokenizer" in " ".join(outcome.err.split())


def test_a_context_beyond_the_pipeline_s_is_refused_with_what_makes_it_larger(
    make_cluster, tmp_path, text
):
    checkpoint = tmp_path / "checkpoint"
    shutil.copytree(storyteller.checkpoint_path(), checkpoint)
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps(config | {"sliding_window": None}))
    shard(checkpoint, tmp_path / "store", "q4")
    with make_cluster() as cluster:
        cluster.up(str(tmp_path / "store"), "--local", "1", "--context", "256")
        refused = cluster.run("eval", text, "--context", "257")
        assert refused.code == 1 and "up --context 512" in refused.err
        assert cluster.run("eval", text, "--context", "256").code == 0


def test_a_lost_worker_changes_no_figure(make_cluster, text):
    with make_cluster() as cluster:
        names = ("one", "two", "three")
        workers = {name: cluster.start_worker(name) for name in names}
        cluster.up("--nodes", ",".join(address for _, address in workers.values()))
        (cluster.folder / "long").write_text(TEXT * 30)
        words = (*EVAL, str(cluster.folder / "long"))
        undisturbed = cluster.run(*words)
        running = cluster.start(*words)
        rows = cluster.status()["stages"][0]["rows"]
        eventually(lambda: cluster.status()["stages"][0]["rows"] > rows, bool, PATIENCE_S)
        workers["two"][0].send(signal.SIGKILL)
        outcome = running.end(PATIENCE_S)
        assert (outcome.code, outcome.out) == (0, undisturbed.out), outcome.err
        assert re.search("two stopped answering; going on with one and three", outcome.err)


def test_ctrl_c_ends_it_and_frees_the_pipeline(story, tmp_path):
    (tmp_path / "long").write_text(TEXT * 200)
    running = story.start(*EVAL, str(tmp_path / "long"))
    eventually(lambda: story.status()["stages"][0]["coordinator"], bool, PATIENCE_S)
    running.send(signal.SIGINT)
    outcome = running.end()
    assert (outcome.code, outcome.out) == (130, "") and "Traceback" not in outcome.err
    assert story.prompt("Hello", "--max-tokens", "2")["ids"]


def test_a_server_has_its_clients_wait_meanwhile(make_cluster, text):
    with make_cluster() as cluster:
        cluster.up("--local", "1")
        (cluster.folder / "long").write_text(TEXT * 200)
        words = ("prompt", "Hello", "--max-tokens", "4", "--temperature", "0")
        with serving(cluster) as server:
            alone = cluster.run(*words)
            running = cluster.start(*EVAL, str(cluster.folder / "long"))
            waiting = kept_waiting(server, words, PATIENCE_S)
            running.send(signal.SIGKILL)
            assert running.end().code == -signal.SIGKILL
            assert waiting.end().out == alone.out
            assert cluster.run(*EVAL, text).code == 0
