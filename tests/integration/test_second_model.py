"""A second model of random weights, without a window and without a tokenizer, beside the first."""

import shutil

import pytest

from tests.support.checkpoints import small_config, write_hugging_face_checkpoint

CONTEXT = 64
IDS = ("--ids", "1,5,7", "--temperature", "0", "--max-tokens", "12")


@pytest.fixture(scope="module")
def second(make_cluster):
    """A cluster on which the second model has replaced the embedded one."""
    with make_cluster() as cluster:
        cluster.up("--local", "3")
        config = small_config(n_layers=7, window=None, max_positions=CONTEXT)
        write_hugging_face_checkpoint(cluster.folder / "checkpoint", config, shards=3)
        store = str(cluster.folder / "store")
        made = cluster.run("shard", str(cluster.folder / "checkpoint"), "--out", store)
        assert (made.code, made.out) == (0, "") and "7 layers" in made.err
        verified = cluster.run("verify", store)
        assert (verified.code, verified.out) == (0, "") and "as written" in verified.err
        assert "made from checkpoint\n" in verified.err
        assert "ready: 3 stages" in cluster.up(store, "--local", "3").err
        yield cluster


@pytest.fixture
def damaged_store(second, tmp_path):
    """A copy of its store, to be damaged."""
    return shutil.copytree(second.folder / "store", tmp_path / "store")


def test_another_model_replaces_the_first_and_is_up_when_asked_again(second):
    status = second.status()
    assert status["stages"][-1]["layers"].endswith(":7")
    assert {stage["state"] for stage in status["stages"]} == {"ready"}
    assert "already up" in second.up(str(second.folder / "store"), "--local", "3").err
    shards = second.folder.glob(f"data/pi-cluster/{second.name}/*/shards/*")
    assert len(list(shards)) == 7 + 2


def test_a_model_without_a_tokenizer_answers_ids_with_ids(second):
    answered = second.prompt(*IDS)
    assert answered["text"] is None and len(answered["ids"]) == 12
    printed = second.run("prompt", *IDS)
    assert printed.out == ",".join(map(str, answered["ids"])) + "\n"


@pytest.mark.parametrize(
    "words", [("prompt", "hello"), ("prompt", "hello", "--raw"), ("prompt", *IDS, "--stop", "x")]
)
def test_text_of_a_model_without_a_tokenizer_is_refused(second, words):
    outcome = second.run(*words)
    assert (outcome.code, outcome.out) == (1, "")
    assert "tokenizer.model" in outcome.err and "--ids" in outcome.err


def test_chat_with_a_model_without_a_tokenizer_is_refused_before_the_first_line(second):
    outcome = second.run("chat", stdin=b"hello\n")
    assert (outcome.code, outcome.out) == (1, "") and "tokenizer.model" in outcome.err


def test_a_prompt_longer_than_the_context_is_refused_and_a_text_ends_at_it(second):
    full = second.run("prompt", "--ids", ",".join(["5"] * CONTEXT))
    assert (full.code, full.out) == (1, "")
    assert str(CONTEXT) in full.err and "--context" in full.err
    answered = second.prompt("--ids", ",".join(["5"] * (CONTEXT - 3)), "--temperature", "0")
    assert (answered["finish_reason"], len(answered["ids"])) == ("context", 3)


def test_bench_refuses_what_the_context_cannot_hold(second):
    outcome = second.run("bench", "--prompt-tokens", str(CONTEXT + 1), "--gen-tokens", "1")
    assert (outcome.code, outcome.out) == (1, "") and str(CONTEXT) in outcome.err


def test_a_store_that_changed_after_verify_is_refused_and_mending_is_named(cluster, damaged_store):
    path = damaged_store / "layer-03.safetensors"
    data = bytearray(path.read_bytes())
    data[-100] ^= 1
    path.write_bytes(data)
    checked = cluster.run("verify", str(damaged_store))
    assert checked.code == 1
    assert "layer-03.safetensors was changed" in checked.err and "pi-cluster shard" in checked.err
    outcome = cluster.run("up", str(damaged_store), "--local", "2")
    assert (outcome.code, outcome.out) == (1, "")
    assert "layer-03.safetensors" in outcome.err and "pi-cluster verify" in outcome.err
    assert "no pipeline is up" in cluster.run("status").err


@pytest.mark.parametrize("kind", ["shorter", "missing"])
def test_a_torn_store_loses_nothing_of_what_runs(second, damaged_store, kind):
    path = damaged_store / "head.safetensors"
    if kind == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-64])
    manifest = damaged_store / "manifest.json"
    text = manifest.read_text().replace('"bos_id": 1', '"bos_id": 0')  # another store by digest
    manifest.write_text(text.replace(_digest_of(text, "head.safetensors"), "0" * 64))
    before, epoch = second.prompt(*IDS)["ids"], second.status()["epoch"]
    outcome = second.run("up", str(damaged_store), "--local", "3")
    assert (outcome.code, outcome.out) == (1, "") and "head.safetensors" in outcome.err
    assert "Traceback" not in outcome.err
    assert second.status()["epoch"] == epoch and second.prompt(*IDS)["ids"] == before


def _digest_of(manifest_text, name):
    return manifest_text.split(f'"{name}"')[1].split('"sha256": "')[1][:64]


def test_a_plan_that_does_not_fit_is_refused_with_the_figures(cluster, tmp_path):
    config = small_config(window=None, max_positions=16_000_000, n_kv_heads=4, head_dim=256)
    write_hugging_face_checkpoint(tmp_path / "c", config)
    store = str(tmp_path / "s")
    assert cluster.run("shard", str(tmp_path / "c"), "--out", store).code == 0
    outcome = cluster.run("up", store, "--local", "2", "--context", "16000000")
    assert (outcome.code, outcome.out) == (1, "")
    assert "does not fit" in outcome.err and "local-2" in outcome.err
    assert outcome.err.count("GiB") >= 8 and "lower --context" in outcome.err
    smaller = cluster.run("plan", store, "--context", "1000")
    assert smaller.code == 0 and "--context changes it" in smaller.err


def test_another_context_is_not_taken_for_what_runs(cluster, damaged_store):
    cluster.up(str(damaged_store), "--local", "1")
    assert "ready: 1 stage" in cluster.up(str(damaged_store), "--local", "1", "--context", "9").err
    assert cluster.record().model.context == 9


def test_a_store_of_a_newer_format_names_the_side_to_update(cluster, damaged_store):
    path = damaged_store / "manifest.json"
    path.write_text(path.read_text().replace('"version": 2', '"version": 3'))
    for words in (("verify", str(damaged_store)), ("up", str(damaged_store), "--local", "1")):
        outcome = cluster.run(*words)
        assert (outcome.code, outcome.out) == (1, "")
        assert "manifest.json" in outcome.err and "version 3" in outcome.err
        assert "update pi-cluster" in outcome.err
