"""A GGUF on a hub or on disk, as people have them: from its name or its path to text."""

import json
import shutil

import numpy as np
import pytest

from pi_cluster.deploy.screen.output import size
from tests.support.gguf_models import all_in, split_gguf, write_gguf
from tests.support.gguf_vocabularies import byte_level_keys, sentencepiece_keys
from tests.support.hub import Hub

NAME = "tiny-org/Tiny-GGUF:Q4_K_M"
FILE = "tiny-Q4_K_M.gguf"
Q4_K = all_in("Q4_K")
BROKEN_TEMPLATE = {"tokenizer.chat_template": "{% for %}"}

REFUSED = {
    "an architecture": ({"architecture": "gemma3"}, 'architecture "gemma3" is not supported'),
    "a format": ({"type_of": all_in("TQ2_0")}, "is in TQ2_0, which is not read"),
    "a tensor": ({"more_tensors": {"blk.0.attn_sinks.weight": np.ones(256, "f4")}}, "attn_sinks"),
    "rope factors": ({"more_tensors": {"rope_freqs.weight": np.zeros(32, "f4")}}, "rope_freqs"),
    "a small vocabulary": ({"tokenizer": byte_level_keys(size=299)}, "lists 299 tokens"),
    "a large vocabulary": ({"tokenizer": sentencepiece_keys(size=301)}, "lists 301 tokens"),
    "a rule": ({"tokenizer": byte_level_keys("youtu", size=300)}, 'is "youtu", and that way'),
    "a kind": ({"tokenizer": {"tokenizer.ggml.model": "bert"}}, 'is "bert"; only llama and gpt2'),
}


@pytest.fixture
def hub():
    """A hub without models."""
    with Hub() as running:
        yield running


@pytest.fixture
def user(cluster, hub):
    """Somebody whose commands ask the hub, with a cache that nobody else has."""
    cluster.env |= hub.env(XDG_CACHE_HOME=str(cluster.folder / "own-cache"))
    return cluster


@pytest.fixture
def tiny(tmp_path):
    """A folder with one model in Q4_K, which talks."""
    (tmp_path / "ggufs").mkdir()
    path = tmp_path / "ggufs" / FILE
    write_gguf(path, type_of=Q4_K, tokenizer=byte_level_keys(size=300))
    return path


def on_hub(hub, folder):
    return hub.add("tiny-org/Tiny-GGUF", folder)


def models(user):
    return user.run("models", "--json").json()["models"]


def files_below(folder):
    return sorted(str(path) for path in folder.rglob("*") if path.is_file())


def stores_of(user):
    return user.folder / "own-cache" / "pi-cluster" / "stores"


def assert_refused(outcome, *parts):
    assert outcome.code == 1 and outcome.out == "", outcome
    assert "error: " in outcome.err and "Traceback" not in outcome.err, outcome
    assert all(part in outcome.err for part in parts), outcome


def asked(user, text="The fox"):
    """The ids that an answer begins with."""
    outcome = user.run("prompt", text, "--max-tokens", "3", "--temperature", "0", "--json")
    assert outcome.code == 0, outcome
    return json.loads(outcome.out)["ids"]


def test_a_gguf_is_pulled_listed_brought_up_and_asked(user, hub, tiny):
    on_hub(hub, tiny.parent)
    outcome = user.run("pull", NAME, "--weights", "q8")
    assert outcome.code == 0, outcome
    assert "keep their values, whatever --weights says: Q4_K" in outcome.err
    (model,) = models(user)
    assert model["name"] == NAME and model["formats"] == ["q4k"] and model["is_ready"]
    assert " q4k " in user.run("models").out
    user.up(NAME, "--local", "2")
    assert len(asked(user)) == 3


def test_what_a_store_will_take_is_told_before_to_the_byte(user, hub, tiny):
    on_hub(hub, tiny.parent)
    outcome = user.run("pull", NAME)
    (store,) = (user.folder / "data" / "pi-cluster" / "models").glob("*/store-*")
    files = json.loads((store / "manifest.json").read_text())["files"]
    of_store = size(sum(file["size_bytes"] for file in files))
    assert f"{size(tiny.stat().st_size)} to fetch and about {of_store} for" in outcome.err


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_not_read_is_refused_before_more_than_the_header_is_fetched(
    user, hub, tmp_path, what
):
    changes, told = REFUSED[what]
    (tmp_path / "hub").mkdir()
    write_gguf(tmp_path / "hub" / FILE, **changes)
    on_hub(hub, tmp_path / "hub")
    outcome = user.run("pull", NAME)
    assert_refused(outcome, told)
    assert "pi-cluster-sketch-" not in outcome.err, outcome
    assert hub.elsewhere and all(one.range[-1].isdigit() for one in hub.elsewhere)
    assert files_below(user.folder / "data") == []


def test_a_template_that_does_not_parse_is_named_and_raw_text_still_works(user, tiny):
    keys = byte_level_keys(size=300, **BROKEN_TEMPLATE)
    write_gguf(tiny, type_of=Q4_K, tokenizer=keys)
    told = f"{tiny}: chat_template.jinja: the chat template is not valid Jinja: line 1"
    outcome = user.up(str(tiny), "--local", "1")
    assert told in outcome.err and "Fetch another GGUF of the same model" in outcome.err
    assert_refused(user.run("prompt", "The fox"), "the chat template is not valid Jinja")
    assert user.run("prompt", "--raw", "The fox", "--max-tokens", "1").code == 0


def test_a_file_that_is_shorter_than_its_header_says_is_refused_at_once(user, hub, tiny):
    repository = on_hub(hub, tiny.parent)
    repository.commit({FILE: tiny.read_bytes()[:-1_000]})
    assert_refused(user.run("pull", NAME), "tiny-org/Tiny-GGUF/tiny-Q4_K_M.gguf is torn")
    assert all(one.range[-1].isdigit() for one in hub.elsewhere)


def test_a_pull_of_a_model_in_parts_that_broke_off_goes_on(user, hub, tiny):
    split_gguf(tiny, [10, 6, 5])
    tiny.unlink()
    on_hub(hub, tiny.parent)
    hub.break_after = [10**9, 10**9, 10**9, 70_000, 0, 0, 0, 0, 0, 0]
    outcome = user.run("pull", NAME)
    assert outcome.code == 1 and "the same command goes on there" in outcome.err, outcome
    partial = next((user.folder / "data").rglob("*.partial"))
    begun = partial.stat().st_size
    assert begun >= 70_000
    hub.break_after, hub.elsewhere[:] = [], []
    assert user.run("pull", NAME).code == 0
    assert f"bytes={begun}-" in [one.range for one in hub.elsewhere]
    assert models(user)[0]["is_ready"]


def test_a_file_a_part_and_a_folder_are_brought_up_and_found_again(user, tiny, tmp_path):
    parts = split_gguf(tiny, [10, 6, 5])
    folder = tmp_path / "folder"
    folder.mkdir()
    shutil.copy2(tiny, folder / FILE)
    tiny.unlink()
    first = user.up(str(parts[1]), "--local", "2")
    assert "has become a store" in first.err and "ready" in first.err
    answer = asked(user)
    for said in (str(parts[0]), str(parts[2]), str(tiny.parent)):
        again = user.up(said)
        assert "already up" in again.err and "has become a store" not in again.err, again
    assert "already up" in user.up().err
    assert "has become a store" in user.up(str(folder)).err
    assert "has become a store" not in user.up(str(folder / FILE)).err
    assert asked(user) == answer
    made = models(user)
    assert [one["formats"] for one in made] == [["q4k"]] * 2
    assert {one["name"].partition("+")[0] for one in made} == {"tiny-Q4_K_M"}
    assert sorted(one["up_in"] for one in made) == [[], [user.name]]


def test_a_store_that_up_made_is_listed_brought_up_by_its_name_and_removed(user, tiny):
    user.up(str(tiny), "--local", "1")
    (made,) = models(user)
    assert made["name"].startswith("tiny-Q4_K_M+") and not made["is_pulled"]
    assert_refused(user.run("models", "rm", made["name"]), f"is up in cluster '{user.name}'")
    assert "already up" in user.up(made["name"]).err
    assert user.run("down").code == 0
    assert "made by up" in user.run("models").out
    outcome = user.run("models", "rm", made["name"])
    assert outcome.code == 0 and " freed" in outcome.err, outcome
    assert models(user) == [] and not files_below(stores_of(user))
    assert "has become a store" in user.up(str(tiny), "--local", "1").err


def test_what_is_not_read_leaves_a_pipeline_that_is_up_as_it_was(user, tiny, tmp_path):
    user.up(str(tiny), "--local", "2")
    answer, before = asked(user), user.record()
    stores = files_below(stores_of(user))
    bad = tmp_path / "bad.gguf"
    for changes, told in REFUSED.values():
        write_gguf(bad, **changes)
        assert_refused(user.run("up", str(bad)), told, "bad.gguf")
    bad.write_bytes(tiny.read_bytes()[:-1_000])
    assert_refused(user.run("up", str(bad)), "is torn", "Fetch it again")
    parts = split_gguf(tiny, [10, 6, 5])
    parts[0].unlink()
    parts[2].unlink()
    told = "lacks tiny-Q4_K_M-00001-of-00003.gguf and 1 more: fetch them into the same folder"
    assert_refused(user.run("up", str(parts[1])), told)
    assert files_below(stores_of(user)) == stores
    assert user.record() == before and asked(user) == answer
