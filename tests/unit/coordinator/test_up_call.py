"""How `up` was called, as it is kept and as a later call goes by it."""

import json

import pytest

from pi_cluster.coordinator.planning.objective import Objective
from pi_cluster.coordinator.records.up_call import UpCall

CALL = UpCall("/a store", 3, "pi1.local,pi2:7712", 64, 2, Objective.LATENCY, 3, "/a small store")


@pytest.mark.parametrize("call", [UpCall(), CALL])
def test_it_comes_back_from_json_as_it_was(call):
    assert UpCall.from_json(json.loads(json.dumps(call.to_json()))) == call


@pytest.mark.parametrize(
    "change",
    [{"local": -1}, {"local": 65}, {"objective": "fame"}, {"texts": "many"}, {"replicas": 5}],
)
def test_values_that_no_call_has_are_refused(change):
    with pytest.raises(ValueError):
        UpCall.from_json(CALL.to_json() | change)


def test_a_call_of_an_older_version_asked_for_no_copies():
    values = UpCall().to_json()
    del values["replicas"]
    assert UpCall.from_json(values) == UpCall()


def test_its_words_say_all_of_it_and_nothing_that_is_usual():
    assert UpCall().words == ["up"]
    assert CALL.words == [
        *("up", "/a store", "--local", "3", "--nodes", "pi1.local,pi2:7712"),
        *("--context", "64", "--texts", "2", "--replicas", "3"),
        *("--draft-model", "/a small store", "--objective", "latency"),
    ]


def test_a_later_call_takes_over_the_model_with_the_limits_that_it_leaves_out():
    later = UpCall(local=1, texts=8).for_model_of(CALL, ["context", "objective", "nodes"])
    assert later == UpCall("/a store", 1, "", 64, 8, Objective.LATENCY)
    assert UpCall().for_model_of(CALL, ["replicas"]).replicas == 3
    assert UpCall(texts=8).for_model_of(None, ["context"]) == UpCall(texts=8)


def test_a_later_call_takes_over_the_draft_model_with_the_model_alone():
    assert UpCall().for_model_of(CALL, ["draft_model"]).draft_model == "/a small store"
    assert UpCall().for_model_of(CALL, []).draft_model == ""


def test_a_call_of_an_older_version_asked_for_no_draft_model():
    values = UpCall().to_json()
    del values["draft_model"]
    assert UpCall.from_json(values) == UpCall()


def test_a_later_call_takes_over_the_nodes():
    store = "/other"
    assert UpCall(store).on_nodes_of(CALL) == UpCall(store, 3, "pi1.local,pi2:7712")
    assert UpCall(store).on_nodes_of(None) == UpCall(store)
