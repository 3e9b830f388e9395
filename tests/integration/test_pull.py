"""A model is pulled by its name, from a hub on loopback that behaves as the real one does."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.support.checkpoints import small_config, write_hugging_face_checkpoint
from tests.support.hub import TOKEN, Hub, commit_of
from tests.support.terminal import Terminal

NAME = "tiny-org/Tiny-Mistral"
SHARD = "model-00002-of-00003.safetensors"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A checkpoint in three parts, as its owner has it, with what nobody needs beside it."""
    folder = tmp_path_factory.mktemp("checkpoint")
    write_hugging_face_checkpoint(folder, small_config(), shards=3)
    (folder / "README.md").write_text("A model.")
    (folder / "pytorch_model.bin").write_bytes(bytes(5_000))
    return folder


@pytest.fixture
def hub():
    """A hub without models."""
    with Hub() as running:
        yield running


@pytest.fixture
def user(cluster, hub):
    """Somebody whose commands ask the hub, and who has no model yet."""
    cluster.env |= hub.env() | {"XDG_CACHE_HOME": str(cluster.folder / "cache")}
    return cluster


@pytest.fixture
def tiny(hub, checkpoint):
    """The checkpoint on the hub."""
    return hub.add(NAME, checkpoint)


def models_folder(user):
    return user.folder / "data" / "pi-cluster" / "models"


def pulled(user):
    """The one model that was pulled, as programs are told."""
    (model,) = user.run("models", "--json").json()["models"]
    return model


def left_in(user):
    """What there is below the folder of models."""
    folder = models_folder(user)
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*")) if folder else []


def assert_refused(outcome, *parts):
    assert outcome.code == 1 and outcome.out == "", outcome
    assert "error: " in outcome.err and "Traceback" not in outcome.err, outcome
    assert all(part in outcome.err for part in parts), outcome


def test_a_name_becomes_a_store_and_only_what_it_needs_is_fetched(user, hub, tiny):
    outcome = user.run("pull", NAME)
    assert outcome.code == 0 and outcome.out == "", outcome
    assert f"{NAME} takes " in outcome.err and " free\n" in outcome.err
    assert "3 layers, " in outcome.err and f"Next: pi-cluster up {NAME}\n" in outcome.err
    assert not hub.fetched("README.md") and not hub.fetched("pytorch_model.bin")
    order = [one.path.rpartition("/")[2] for one in hub.requests]
    assert order.index("config.json") < order.index(SHARD)
    model = pulled(user)
    assert (model["name"], model["is_ready"], model["layers"]) == (NAME, True, 3)
    assert model["commit"] == commit_of(tiny.revisions["main"])
    assert (model["weights"], model["context"], model["up_in"]) == ("q4m", 1024, [])
    assert not model["has_checkpoint"] and not list(models_folder(user).rglob("checkpoint-*"))
    verified = user.run("verify", NAME)
    assert verified.code == 0 and f"made from {NAME}, commit {model['commit']}\n" in verified.err
    assert "layers in q4n and q8, embedding and head in q8\n" in verified.err


def test_the_checkpoint_is_kept_where_that_is_asked_for_and_spares_fetching(user, hub, tiny):
    assert "Its checkpoint stays at" in user.run("pull", NAME, "--keep").err
    assert pulled(user)["has_checkpoint"] and "checkpoint kept" in user.run("models").out
    sent = hub.sent_bytes
    outcome = user.run("pull", NAME, "--weights", "q8", "--keep")
    assert outcome.code == 0 and hub.sent_bytes == sent, outcome
    assert pulled(user)["weights"] == "q8"
    assert len(list(models_folder(user).glob("*/store-*"))) == 1


def test_a_pull_that_broke_off_goes_on_and_only_the_rest_is_sent(user, hub, tiny):
    total = sum(len(tiny.revisions["main"][name]) for name in tiny.revisions["main"])
    needless = sum(len(tiny.revisions["main"][name]) for name in ("README.md", "pytorch_model.bin"))
    hub.break_after = [10**9, 10**9, 1_000, 0, 70, 10**9, 5_000]
    outcome = user.run("pull", NAME)
    assert outcome.code == 0, outcome
    assert hub.sent_bytes == total - needless
    assert [one.range for one in hub.elsewhere].count(None) == 3


def interrupted(user, hub, when):
    """A pull that gets Ctrl-C while it waits for the first answer for which ``when`` holds."""
    hold, reached = threading.Event(), threading.Event()

    def hold_back(handler):
        if when(handler) and not hold.is_set():
            reached.set()
            hold.wait(30)
        return False

    hub.answer = hold_back
    running = user.start("pull", NAME)
    assert reached.wait(30)
    running.send(signal.SIGINT)
    outcome = running.end()
    hold.set()
    return outcome


def test_ctrl_c_leaves_what_has_come_and_the_same_command_goes_on(user, hub, tiny):
    outcome = interrupted(user, hub, lambda _: hub.sent_bytes > 30_000)
    assert outcome.code == 130 and "what has come is kept" in outcome.err, outcome
    (listed,) = user.run("models", "--json").json()["models"]
    assert not listed["is_ready"] and " to fetch" in user.run("models").out
    assert_refused(user.run("plan", NAME), "was not pulled to its end", f"pi-cluster pull {NAME}")
    before = hub.sent_bytes
    assert user.run("pull", NAME).code == 0
    sizes = [len(data) for name, data in tiny.revisions["main"].items() if "safetensors" in name]
    assert hub.sent_bytes - before < sum(sizes) and pulled(user)["is_ready"]


def test_ctrl_c_before_any_weights_leaves_nothing_and_promises_nothing(user, hub, tiny):
    outcome = interrupted(user, hub, lambda handler: "config.json" in handler.path)
    assert outcome.code == 130 and "is kept" not in outcome.err, outcome
    assert not list(models_folder(user).iterdir())


def test_a_hub_without_ranges_sends_a_file_anew(user, hub, tiny):
    hub.knows_ranges, hub.break_after = False, [10**9, 10**9, 1_000]
    assert user.run("pull", NAME).code == 0 and pulled(user)["is_ready"]


def test_a_second_pull_fetches_nothing_and_says_so(user, hub, tiny):
    user.run("pull", NAME)
    sent = hub.sent_bytes
    outcome = user.run("pull", NAME.lower())
    assert outcome.code == 0 and "as it was. Next: " in outcome.err, outcome
    assert hub.sent_bytes == sent and pulled(user)["name"] == NAME


def test_a_newer_commit_takes_its_place_once_it_is_whole(user, hub, tiny, tmp_path):
    user.run("pull", NAME)
    before = pulled(user)
    changed = tiny.revisions["main"] | {"README.md": b"Another text."}
    tiny.commit(changed)
    outcome = user.run("pull", NAME)
    assert "has a newer commit" in outcome.err and "is the same" in outcome.err, outcome
    assert pulled(user)["store"] == before["store"]
    assert pulled(user)["commit"] != before["commit"]
    write_hugging_face_checkpoint(tmp_path, small_config(), seed=1)
    tiny.commit({path.name: path.read_bytes() for path in tmp_path.iterdir()})
    outcome = user.run("pull", NAME)
    assert outcome.code == 0 and "it takes its place" in outcome.err, outcome
    assert pulled(user)["store"] != before["store"]
    assert len(list(models_folder(user).glob("*/store-*"))) == 1


def test_a_revision_is_a_model_of_its_own(user, hub, tiny, tmp_path):
    write_hugging_face_checkpoint(tmp_path, small_config(n_layers=2))
    tiny.commit({path.name: path.read_bytes() for path in tmp_path.iterdir()}, "v2")
    assert user.run("pull", NAME).code == 0 and user.run("pull", f"{NAME}@v2").code == 0
    models = user.run("models", "--json").json()["models"]
    assert {one["name"]: one["layers"] for one in models} == {NAME: 3, f"{NAME}@v2": 2}
    assert_refused(user.run("pull", f"{NAME}@v3"), f"{NAME} has no revision 'v3'")


def test_a_store_that_lost_a_file_is_mended_by_another_pull(user, hub, tiny):
    user.run("pull", NAME)
    layer = next(models_folder(user).rglob("layer-01.safetensors"))
    layer.write_bytes(bytes(len(layer.read_bytes())))
    told = user.run("verify", NAME)
    assert_refused(told, "layer-01.safetensors was changed", f"`pi-cluster pull {NAME}` mends it")
    assert user.run("pull", NAME).code == 0 and user.run("verify", NAME).code == 0


def test_a_gated_model_says_where_its_licence_is_and_the_token_is_never_shown(user, hub, tiny):
    tiny.is_gated = True
    refused = user.run("pull", NAME)
    assert_refused(refused, f"accept its licence at {hub.url}/{NAME}; then set HF_TOKEN")
    assert left_in(user) == []
    user.env["HF_TOKEN"] = "hf_otherUser"
    assert_refused(user.run("pull", NAME), "your token is not of an account that may have it")
    user.env["HF_TOKEN"] = "hf_nobodys"
    assert_refused(user.run("pull", NAME), "the hub does not know your token")
    user.env["HF_TOKEN"] = f"{TOKEN}é"
    assert_refused(user.run("pull", NAME), "has characters that no token has")
    user.env["HF_TOKEN"] = TOKEN
    done = subprocess.run(
        [*user.words("pull", NAME)[:1], "--debug", "pull", NAME],
        env=user.env,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0 and TOKEN not in done.stdout + done.stderr, done
    # It is the hub's alone: the place to which files are redirected does not get it.
    assert {one.authorization for one in hub.elsewhere} == {None}
    assert f"Bearer {TOKEN}" in {one.authorization for one in hub.requests}
    found = [path for path in user.folder.rglob("*") if path.is_file()]
    assert not any(TOKEN.encode() in path.read_bytes() for path in found)


def test_a_name_that_does_not_exist_is_told_with_those_that_may_be_meant(user, hub, tiny):
    told = f"Did you mean {NAME}?"
    assert_refused(user.run("pull", "tiny-org/Tiny-Mistrall"), "there is no model", told)
    assert_refused(user.run("pull", "tinyorg/Tiny-Mistral"), "there is no model", told)
    outcome = user.run("pull", "nobody/nothing-alike")
    assert_refused(outcome, "there is no model nobody/nothing-alike")
    assert "Did you mean" not in outcome.err and left_in(user) == []


def test_a_private_model_is_pulled_with_a_token(user, hub, tiny):
    tiny.is_private = True
    assert_refused(user.run("pull", NAME), "if it is private, set HF_TOKEN")
    user.env["HF_TOKEN"] = TOKEN
    assert user.run("pull", NAME).code == 0


@pytest.mark.parametrize("how", ["offline", "no network"])
def test_without_a_network_what_was_pulled_is_used_and_nothing_else(user, hub, tiny, how):
    user.run("pull", NAME)
    if how == "offline":
        user.env["HF_HUB_OFFLINE"] = "1"
    else:
        user.env["HF_ENDPOINT"] = "http://127.0.0.1:1"
    outcome = user.run("pull", NAME)
    assert outcome.code == 0 and "which was pulled before" in outcome.err, outcome
    assert_refused(user.run("pull", "a/b"), "Nothing of a/b was pulled here before")


def test_an_unfinished_pull_goes_on_without_the_hub_as_far_as_that_goes(user, hub, tiny):
    user.run("pull", NAME, "--keep")
    shutil.rmtree(pulled(user)["store"])
    user.env["HF_HUB_OFFLINE"] = "1"
    assert user.run("pull", NAME, "--keep").code == 0 and pulled(user)["is_ready"]
    shutil.rmtree(pulled(user)["store"])
    next(models_folder(user).rglob(SHARD)).unlink()
    assert_refused(user.run("pull", NAME), f"Of {NAME}, ", "still lack here")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"quantization_config": {"quant_method": "awq"}}, "its weights are quantised"),
        ({"architectures": ["T5ForConditionalGeneration"], "model_type": "t5"}, "T5For"),
        ({"hidden_act": "gelu"}, "hidden_act"),
    ],
)
def test_a_model_that_is_not_read_is_refused_before_its_weights_are_fetched(
    user, hub, tmp_path, change, told
):
    write_hugging_face_checkpoint(tmp_path, small_config(), config_overrides=change)
    hub.add(NAME, tmp_path)
    assert_refused(user.run("pull", NAME), told)
    assert not hub.elsewhere and left_in(user) == []


def test_quantised_weights_are_seen_in_the_index(user, hub, tiny):
    index = json.loads(tiny.revisions["main"]["model.safetensors.index.json"])
    index["weight_map"]["model.layers.0.self_attn.q_proj.qweight"] = SHARD
    files = tiny.revisions["main"] | {"model.safetensors.index.json": json.dumps(index).encode()}
    tiny.commit(files)
    assert_refused(user.run("pull", NAME), "the weights are quantised")
    assert not hub.elsewhere


def test_quantised_weights_are_seen_in_the_header_of_a_single_file(user, hub, tmp_path):
    write_hugging_face_checkpoint(tmp_path, small_config())
    quantised = {"model.layers.0.self_attn.q_proj.qweight": np.ones((8, 8), np.int32)}
    save_file(quantised, tmp_path / "model.safetensors")
    hub.add(NAME, tmp_path)
    assert_refused(user.run("pull", NAME), "the weights are quantised", "q_proj.qweight")
    assert all(one.range[-1].isdigit() for one in hub.elsewhere) and left_in(user) == []


def test_a_disk_that_is_too_small_is_told_with_figures_before_the_weights_are_fetched(
    user, hub, tiny
):
    folder = user.folder / "data"
    folder.mkdir(exist_ok=True)
    mount = 'mount -t tmpfs -o size=20m none "$1" && shift && exec "$@"'
    words = ["unshare", "-rm", "sh", "-c", mount, "sh", str(folder), *user.words("pull", NAME)]
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode:
        pytest.skip("this system does not let a user mount a small disk of his own")
    done = subprocess.run(words, env=user.env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "MiB free, which is too little" in done.stderr, done
    assert " KiB to fetch and about " in done.stderr and "XDG_DATA_HOME" in done.stderr
    assert not hub.elsewhere


def test_without_the_extra_it_says_what_to_install(user, hub, tmp_path):
    program = (
        "import sys; sys.modules['huggingface_hub'] = None\n"
        "from pi_cluster.deploy.__main__ import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "pull", NAME],
        env=user.env,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1 and "pip install huggingface_hub" in done.stderr, done
    assert not hub.requests


def test_only_pull_loads_what_asks_a_hub(user, tmp_path):
    program = (
        "import sys, pi_cluster.deploy.commands.up, pi_cluster.deploy.commands.models\n"
        "import pi_cluster.deploy.commands.pull, pi_cluster.deploy.commands.verify\n"
        "print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert not {"huggingface_hub", "httpx2", "hf_xet"} & set(done.stdout.split()), done


def test_a_model_is_removed_but_not_while_it_is_up(user, hub, tiny):
    user.run("pull", NAME)
    user.up("tiny-mistral", "--local", "1")
    assert pulled(user)["up_in"] == [user.name]
    assert_refused(user.run("models", "rm", NAME), f"is up in cluster '{user.name}'", "down")
    assert user.run("down").code == 0
    outcome = user.run("models", "rm", "tiny-mistral")
    assert outcome.code == 0 and f"{NAME} is removed: " in outcome.err, outcome
    assert left_in(user) == [] and user.run("models", "--json").json() == {"models": []}
    assert_refused(user.run("models", "rm", NAME), f"no model '{NAME}' was pulled")


def test_two_pulls_of_one_model_do_not_meet(user, hub, tiny):
    hold, reached = threading.Event(), threading.Event()

    def hold_back(handler):
        if handler.path.endswith("signature=abc"):
            reached.set()
            hold.wait(30)
        return False

    hub.answer = hold_back
    running = user.start("pull", NAME)
    assert reached.wait(30)
    assert_refused(user.run("pull", NAME), f"{NAME} is being pulled or removed already")
    assert_refused(user.run("models", "rm", NAME), "already: wait for that")
    hold.set()
    assert running.end().code == 0


def test_a_person_sees_a_bar_and_a_table_that_fit_the_screen(user, hub, tiny):
    env = {name: value for name, value in user.env.items() if name != "COLUMNS"}
    env |= {"TERM": "xterm", "COLUMNS": "80"}
    with Terminal(user.words("pull", NAME), env, columns=80) as terminal:
        shown = terminal.to_end()
    assert "Next: pi-cluster up" in shown.replace("\r\n", ""), shown
    with Terminal(user.words("models"), env, columns=80) as terminal:
        shown = terminal.to_end()
    lines = [line for line in shown.splitlines() if NAME in line]
    assert len(lines) == 1 and "ready" in lines[0] and len(lines[0]) < 80 + 20, shown


def test_a_gguf_repository_is_fetched_alone_and_by_its_quantisation(user, hub):
    files = {f"x-{label}.gguf": b"GGUF" + os.urandom(2_000) for label in ("Q4_K_M", "Q8_0", "Q2_K")}
    hub.add("tiny-org/Tiny-GGUF").commit({**files, "config.json": b"{}", "README.md": b"x"})
    outcome = user.run("pull", "hf.co/tiny-org/Tiny-GGUF:q8_0")
    assert_refused(outcome, "GGUF")  # it is no real one
    assert [one.path.rpartition("/")[2] for one in hub.elsewhere] == ["x-Q8_0.gguf?signature=abc"]
    assert left_in(user) == []
    told = user.run("pull", "tiny-org/Tiny-GGUF:Q2_K")
    assert_refused(told, "weights of this format are not read here", "tiny-org/Tiny-GGUF:Q4_K_M")
