"""A draft model beside real workers: the same texts, whatever it guesses, whatever befalls it."""

import json
import shutil
import signal
import urllib.request

import pytest

from pi_cluster.cluster.errors import StateError
from pi_cluster.coordinator.client import PipelineClient
from pi_cluster.coordinator.records.recorded_draft import GUESSES_BY as DRAFT_MODEL
from pi_cluster.deploy.drafting.in_use import DraftsHere
from pi_cluster.deploy.drafting.own_machine import FOLDER_NAME, draft_threads
from tests.support.checkpoints import small_config, write_hugging_face_checkpoint
from tests.support.cluster_process import eventually
from tests.support.measured_nodes import remember_speed
from tests.support.servers import serving
from tests.support.small_tokenizers import PARITY, STORYTELLER
from tests.support.stores import shard
from tests.support.worker_servers import PLAIN

STORY = "Tell me a story about a brave fox."
GREEDY = ("--temperature", "0", "--max-tokens", "120")
SEEDED = ("--seed", "7", "--max-tokens", "120")
LONG = ("--max-tokens", "600")
HEALED_S = 90.0


@pytest.fixture(scope="module", autouse=True)
def _measured(integration_folder):
    """This machine was measured before, as all are but new ones: it takes seconds."""
    folder = integration_folder / "cache" / "pi-cluster" / FOLDER_NAME
    remember_speed(folder, draft_threads(3), {})


@pytest.fixture(scope="module")
def models(tmp_path_factory, shared_story):
    """Draft models: the embedded one itself, and a poor one with its tokens; and two unfit ones."""
    folder = tmp_path_factory.mktemp("drafts")
    shutil.copytree(shared_story.record().store, folder / "own")
    poor = small_config(vocab_size=2048)
    write_hugging_face_checkpoint(folder / "poor-checkpoint", poor, seed=3)
    shutil.copyfile(STORYTELLER, folder / "poor-checkpoint" / "tokenizer.model")
    shard(folder / "poor-checkpoint", folder / "poor", "f32")
    other = small_config(vocab_size=4096)
    write_hugging_face_checkpoint(folder / "other-checkpoint", other)
    qwen = PARITY / "tokenizers" / "qwen-3.json"
    shutil.copyfile(qwen, folder / "other-checkpoint" / "tokenizer.json")
    shard(folder / "other-checkpoint", folder / "other", "f32")
    shutil.copytree(folder / "poor", folder / "damaged")
    layer = folder / "damaged" / "layer-01.safetensors"
    assert layer.exists(), sorted(path.name for path in (folder / "damaged").iterdir())
    data = bytearray(layer.read_bytes())
    data[-1000] ^= 1
    layer.write_bytes(data)
    return folder


@pytest.fixture(scope="module")
def plain(shared_story):
    """What the embedded model says without any guess."""
    return {
        words: shared_story.prompt(STORY, *words, "--draft", "off")["ids"]
        for words in (GREEDY, SEEDED)
    }


@pytest.fixture(scope="module", params=["own", "poor"])
def drafted(request, make_cluster, models):
    """The embedded model on three workers, beside a draft model that is always or hardly right."""
    with make_cluster() as cluster:
        draft = str(models / request.param)
        told = cluster.up("--local", "3", "--draft-model", draft).err
        assert f"drafts by {draft} on this machine, " in told
        yield cluster, draft


def counted(server):
    """What a server has counted of guesses, by who made them."""
    with urllib.request.urlopen(f"{server.url}/cluster/v1/state", timeout=30) as answer:
        return {one["by"]: one for one in json.load(answer)["guesses"]}


def client_of(cluster, notices):
    record = cluster.record()
    return PipelineClient(record, PLAIN, draft_models=DraftsHere(notices.append))


def test_the_text_is_the_same_and_a_draft_model_that_is_right_is_found_to_be(drafted, plain):
    cluster, draft = drafted
    for words, ids in plain.items():
        assert cluster.prompt(STORY, *words)["ids"] == ids
        assert cluster.prompt(STORY, *words, "--draft", "off")["ids"] == ids
    notices = []
    with cluster.environment(), client_of(cluster, notices) as client:
        greedy = client.ask(STORY, temperature=0.0, max_tokens=120)
        seeded = client.ask(STORY, seed=7, max_tokens=120)
        right, wrong = (
            c[DRAFT_MODEL] for c in (client.counters.right_by, client.counters.wrong_by)
        )
    assert (list(greedy.ids), list(seeded.ids)) == tuple(plain.values())
    assert notices == []
    if draft.endswith("own"):
        assert right > 0 == wrong
    else:
        assert right <= wrong


def test_up_alone_keeps_it_and_status_and_bench_tell_of_it(drafted):
    cluster, draft = drafted
    assert cluster.record().draft.model == draft
    assert "nothing to move" in cluster.up().err
    assert cluster.record().draft.model == draft
    assert f"drafts by {draft} on this machine, " in cluster.call("status").out
    assert cluster.status()["draft"]["model"] == draft
    rows = cluster.run(
        *("bench", "--prompt-tokens", "8", "--gen-tokens", "40", "--repeat", "1"),
        *("--format", "json"),
    ).json()
    if draft.endswith("own"):
        right, decided = rows[1]["guesses"][DRAFT_MODEL]
        assert 0 < right == decided


def test_a_server_drafts_and_so_does_the_next_one(drafted, plain):
    cluster, draft = drafted
    with serving(cluster) as first:
        assert cluster.prompt(STORY, *GREEDY)["ids"] == plain[GREEDY]
        before = counted(first)
        assert "right" in cluster.call("status").out or DRAFT_MODEL not in before
        first.running.send(signal.SIGKILL)
        first.running.process.wait(30)
    with serving(cluster) as second:
        assert cluster.prompt(STORY, *GREEDY)["ids"] == plain[GREEDY]
        if draft.endswith("own"):
            assert counted(second)[DRAFT_MODEL]["right"] > 0
            assert before[DRAFT_MODEL]["right"] > 0


def test_a_lost_worker_costs_neither_the_text_nor_the_draft_model(
    make_cluster, models, shared_story, endless
):
    undisturbed = shared_story.call("prompt", *endless, *LONG).out
    with make_cluster() as cluster:
        workers = {name: cluster.start_worker(name) for name in ("one", "two", "three")}
        nodes = ",".join(address for _, address in workers.values())
        cluster.up("--nodes", nodes, "--draft-model", str(models / "own"))
        before = cluster.record().draft
        running = cluster.start("prompt", *endless, *LONG)
        running.read(50)
        workers["two"][0].send(signal.SIGKILL)
        outcome = running.end(HEALED_S)
        assert (outcome.code, outcome.out) == (0, undisturbed), outcome.err
        assert [one.name for one in cluster.record().addresses] == ["one", "three"]
        assert cluster.record().draft == before


def test_other_tokens_are_refused_before_anything_changes(drafted, models):
    cluster, draft = drafted
    epoch = cluster.record().epoch
    refused = cluster.run("up", "--draft-model", str(models / "other"))
    assert refused.code == 1
    assert f"{models / 'other'} cannot guess for the storyteller: token " in refused.err
    assert "Qwen3 0.6B for Qwen3 4B and 8B" in refused.err
    assert (cluster.record().epoch, cluster.record().draft.model) == (epoch, draft)
    served = cluster.run("serve", "--port", "0", "--draft-model", str(models / "other"))
    assert (served.code, "cannot guess for" in served.err) == (1, True)


def test_a_damaged_store_is_named(drafted, models):
    cluster, draft = drafted
    refused = cluster.run("up", "--draft-model", str(models / "damaged"))
    assert refused.code == 1
    assert "layer-01.safetensors" in refused.err
    assert cluster.record().draft.model == draft


def test_a_store_that_is_gone_costs_its_guesses_alone(make_cluster, models, plain, tmp_path):
    store = tmp_path / "draft"
    shutil.copytree(models / "own", store)
    with make_cluster() as cluster:
        cluster.up("--local", "2", "--draft-model", str(store))
        head = store / "head.safetensors"
        head.write_bytes(head.read_bytes()[:-64])
        told = cluster.run("prompt", "--json", STORY, *GREEDY)
        assert told.json()["ids"] == plain[GREEDY]
        assert "answering without a draft model: " in told.err
        assert "head.safetensors" in told.err
        shutil.rmtree(store)
        told = cluster.run("prompt", "--json", STORY, *GREEDY)
        assert told.json()["ids"] == plain[GREEDY]
        assert str(store) in told.err


def test_a_draft_model_is_taken_out_and_forgotten(make_cluster, models):
    with make_cluster() as cluster:
        draft = ("--draft-model", str(models / "own"))
        cluster.up("--local", "1", *draft)
        epoch = cluster.record().epoch
        cluster.up("--draft-model", "none")
        assert (cluster.record().draft, cluster.record().epoch) == (None, epoch)
        cluster.up(*draft)
        assert cluster.record().epoch == epoch
        down = cluster.run("down")
        assert " ".join(draft) in down.err
        with pytest.raises(StateError):
            cluster.record()
        cluster.up("--local", "1")
        assert cluster.record().draft is None


def test_a_server_takes_one_of_its_own(make_cluster, models, plain):
    with make_cluster() as cluster:
        cluster.up("--local", "1")
        with serving(cluster, "--draft-model", str(models / "own")) as server:
            assert cluster.prompt(STORY, *GREEDY)["ids"] == plain[GREEDY]
            assert counted(server)[DRAFT_MODEL]["right"] > 0
        cluster.up("--draft-model", str(models / "own"))
        with serving(cluster, "--draft-model", "none") as server:
            assert cluster.prompt(STORY, *GREEDY)["ids"] == plain[GREEDY]
            assert DRAFT_MODEL not in counted(server)


def test_a_server_goes_on_with_the_draft_model_of_a_later_up(make_cluster, models, plain):
    with make_cluster() as cluster:
        cluster.up("--local", "1")
        with serving(cluster) as server:
            assert cluster.prompt(STORY, *GREEDY)["ids"] == plain[GREEDY]
            assert DRAFT_MODEL not in counted(server)
            cluster.up("--draft-model", str(models / "own"))

            def drafts():
                assert cluster.prompt(STORY, *GREEDY)["ids"] == plain[GREEDY]
                return DRAFT_MODEL in counted(server)

            eventually(drafts, bool, 60.0)


def test_plan_says_what_to_expect_of_it(drafted):
    cluster, draft = drafted
    nodes = ",".join(stage.address for stage in cluster.record().addresses)
    told = cluster.run("plan", "--nodes", nodes)
    assert told.code == 0
    assert f"drafts by {draft} on this machine, " in told.out
    plans = cluster.run("plan", "--nodes", nodes, "--json").json()["plans"]
    assert all(plan["draft"]["model"] == draft for plan in plans)
    assert all(plan["draft"]["assumed_right"] == 0.7 for plan in plans)
    none = cluster.run("plan", "--nodes", nodes, "--draft-model", "none", "--json").json()
    assert all(plan["draft"] is None for plan in none["plans"])
