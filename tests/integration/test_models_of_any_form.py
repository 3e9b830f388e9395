"""Whatever people have is brought up: a store, a checkpoint's folder, a pulled model's name."""

import os
import shutil

import pytest

from tests.support.checkpoints import small_config, write_hugging_face_checkpoint
from tests.support.hub import Hub
from tests.support.stores import shard

NAME = "tiny-org/Tiny-Mistral"


@pytest.fixture
def user(cluster):
    """Somebody with a cache that nobody else has."""
    cluster.env["XDG_CACHE_HOME"] = str(cluster.folder / "own-cache")
    return cluster


@pytest.fixture
def checkpoint(tmp_path):
    """A checkpoint."""
    write_hugging_face_checkpoint(tmp_path / "a model", small_config())
    return tmp_path / "a model"


def cached(user):
    """The stores in the user's cache."""
    return sorted((user.folder / "own-cache" / "pi-cluster" / "stores").glob("*"))


def assert_refused(outcome, *parts):
    assert outcome.code == 1 and outcome.out == "", outcome
    assert outcome.err.startswith("error: ") and "Traceback" not in outcome.err, outcome
    assert all(part in outcome.err for part in parts), outcome


def test_a_checkpoint_becomes_a_store_on_the_way_once(user, checkpoint, tmp_path):
    told = user.run("verify", str(checkpoint))
    assert_refused(told, "has not become a store yet", f"pi-cluster up '{checkpoint}'")
    first = user.up(str(checkpoint), "--local", "1")
    assert "has become a store" in first.err and "ready: 1 stage" in first.err
    (store,) = cached(user)
    files = {path: path.stat().st_mtime_ns for path in store.iterdir()}
    again = user.up(str(checkpoint))
    assert "already up" in again.err and "has become a store" not in again.err
    assert user.run("verify", str(checkpoint)).code == 0
    assert "already up" in user.up().err  # without words it is the same
    moved = checkpoint.rename(tmp_path / "moved")  # its files are what counts
    assert "already up" in user.up(str(moved)).err
    assert {path: path.stat().st_mtime_ns for path in store.iterdir()} == files
    assert user.record().call.model == str(moved)


def test_a_checkpoint_that_changed_becomes_another_store(user, checkpoint):
    user.up(str(checkpoint), "--local", "1")
    write_hugging_face_checkpoint(checkpoint, small_config(), seed=1)
    outcome = user.up(str(checkpoint))
    assert "has become a store" in outcome.err and len(cached(user)) == 2, outcome


def test_a_store_in_the_cache_that_lost_a_file_or_was_interrupted_is_made_whole(user, checkpoint):
    user.up(str(checkpoint), "--local", "1")
    (store,) = cached(user)
    (store / "layer-01.safetensors").unlink()
    user.up(str(checkpoint))
    assert (store / "layer-01.safetensors").exists()
    (store / "manifest.json").rename(store / "journal.json")
    assert "ready" in user.up(str(checkpoint), "--texts", "2").err
    assert user.run("verify", str(checkpoint)).code == 0


def test_what_is_there_under_a_path_comes_before_a_pulled_name(user, checkpoint, tmp_path):
    with Hub() as hub:
        user.env |= hub.env()
        hub.add(NAME, checkpoint)
        user.run("pull", NAME)
    shard(checkpoint, user.folder / NAME, "q8")
    user.up(NAME, "--local", "1")
    assert user.record().manifest.weights == "q4m"  # the folder is not where the command runs
    user.env["PWD"] = str(user.folder)
    script = ["sh", "-c", f'cd {user.folder} && exec "$@"', "sh", *user.words("up", NAME)]
    outcome = user.start_program(script).end()
    assert outcome.code == 0 and user.record().manifest.weights == "q8", outcome
    assert user.record().call.model == str(user.folder / NAME)


def test_a_pulled_name_comes_back_by_up_alone_wherever_that_is_typed(user, checkpoint):
    with Hub() as hub:
        user.env |= hub.env()
        hub.add(NAME, checkpoint)
        user.run("pull", NAME)
    user.up("TINY-mistral", "--local", "1")
    assert user.record().call.model == NAME
    (user.folder / "elsewhere" / NAME).mkdir(parents=True)
    elsewhere = user.folder / "elsewhere"
    script = ["sh", "-c", f'cd {elsewhere} && exec "$@"', "sh", *user.words("up")]
    outcome = user.start_program(script).end()
    assert outcome.code == 0 and "already up" in outcome.err, outcome
    assert f"up {NAME} --local 1" in user.run("down").err


@pytest.mark.parametrize("command", ["up", "plan", "verify"])
def test_what_is_not_there_is_told_with_the_way_to_it(user, command):
    assert_refused(user.run(command, NAME), f"pull it first, `pi-cluster pull {NAME}`")
    assert_refused(user.run(command, "tiny-mistral"), "no model of that name was pulled", "models")
    gone = str(user.folder / "gone")
    assert_refused(user.run(command, gone), f"no store at {gone}", "pi-cluster shard CHECKPOINT")


def test_what_is_no_model_is_named(user, checkpoint, tmp_path):
    assert_refused(user.run("up", str(checkpoint / "config.json")), "neither a store nor")
    (tmp_path / "empty").mkdir()
    assert_refused(user.run("up", str(tmp_path / "empty")), "is not a store", "manifest.json")
    (tmp_path / "ggufs").mkdir()
    for label in ("Q8_0", "Q4_0"):
        (tmp_path / "ggufs" / f"x-{label}.gguf").write_bytes(b"GGUF")
    told = user.run("up", str(tmp_path / "ggufs"))
    assert_refused(told, "several models in GGUF: name one", "ggufs/x-Q4_0.gguf")
    (checkpoint / "model.safetensors").unlink()
    (checkpoint / "pytorch_model.bin").write_bytes(b"x")
    assert_refused(user.run("up", str(checkpoint)), "a pickle, which is never read here")


def test_several_pulled_models_of_one_name_are_told_apart(user, checkpoint):
    with Hub() as hub:
        user.env |= hub.env()
        for name in ("a/Tiny", "b/Tiny"):
            hub.add(name, checkpoint)
            user.run("pull", name)
    assert_refused(user.run("plan", "tiny"), "'tiny' may be a/Tiny or b/Tiny: say which")
    shutil.rmtree(user.folder / "data" / "pi-cluster" / "models" / "a--Tiny")
    assert user.up("tiny", "--local", "1") and user.record().call.model == "b/Tiny"


def test_a_disk_without_room_for_the_store_is_told_before_anything_is_written(user, checkpoint):
    if os.geteuid():
        pytest.skip("mounting a disk needs root")
    cache = user.folder / "own-cache"
    cache.mkdir()
    mount = 'mount -t tmpfs -o size=1m none "$1" && shift && exec "$@"'
    words = ["unshare", "-m", "sh", "-c", mount, "sh", str(cache), *user.words("plan")]
    write_hugging_face_checkpoint(checkpoint, small_config(hidden_dim=2_048, n_layers=8))
    outcome = user.start_program([*words, str(checkpoint)]).end()
    assert outcome.code == 1 and "MB free: make room" in outcome.err, outcome


def test_a_damaged_store_of_a_pulled_model_is_mended_by_its_name(user, checkpoint):
    with Hub() as hub:
        user.env |= hub.env()
        hub.add(NAME, checkpoint)
        user.run("pull", NAME)
        layer = next((user.folder / "data").rglob("layer-01.safetensors"))
        layer.write_bytes(bytes(layer.stat().st_size))
        outcome = user.run("up", NAME, "--local", "1")
        assert outcome.code == 1 and f"`pi-cluster pull {NAME}` mends it" in outcome.err, outcome
        assert user.run("pull", NAME).code == 0
    assert "ready" in user.up(NAME, "--local", "1").err
