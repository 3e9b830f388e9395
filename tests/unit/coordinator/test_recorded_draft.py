"""The draft model in a pipeline's record: kept, passed on, and checked when it is read."""

import json

import pytest

from pi_cluster.coordinator.drafting.draft_model import DraftModel
from pi_cluster.coordinator.planning.draft_placing import PlacedDraft
from pi_cluster.coordinator.records.recorded_draft import GUESSES_BY, RecordedDraft

DRAFT = RecordedDraft("Qwen/Qwen3-0.6B", "/a/store", "abc", 3, PlacedDraft("m", 0.012, 900, 800))


def test_it_comes_back_from_json_as_it_was():
    assert RecordedDraft.from_json(json.loads(json.dumps(DRAFT.to_json()))) == DRAFT


def test_its_guesses_are_counted_by_the_name_that_a_scheduler_gives_them():
    assert DraftModel.name == GUESSES_BY


@pytest.mark.parametrize(
    "change",
    [
        {"threads": 0},
        {"threads": 1000},
        {"placed": {**DRAFT.to_json()["placed"], "token_s": 0}},
        {"placed": {**DRAFT.to_json()["placed"], "token_s": float("nan")}},
        {"placed": {**DRAFT.to_json()["placed"], "memory_bytes": -1}},
        {"placed": {**DRAFT.to_json()["placed"], "weight_bytes": "many"}},
    ],
)
def test_values_that_no_draft_model_has_are_refused(change):
    with pytest.raises(ValueError):
        RecordedDraft.from_json(DRAFT.to_json() | change)
