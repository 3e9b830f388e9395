"""Our distribution against transformers' logits processors, by golden values."""

import json
from pathlib import Path

import numpy as np
import pytest

from pi_cluster.transformer.sampling import candidates_needed, distribution, top_candidates
from pi_cluster.transformer.sampling_settings import SamplingSettings

GOLDEN = json.loads(Path(__file__).with_name("golden_sampling.json").read_text(encoding="utf-8"))[
    "cases"
]


@pytest.mark.parametrize("number", range(len(GOLDEN)))
def test_ids_and_probabilities_are_those_of_transformers(number):
    case = GOLDEN[number]
    settings = SamplingSettings(**case["settings"])
    logits = np.array(case["logits"], dtype=np.float32)
    candidates = top_candidates(logits, candidates_needed(settings))
    ids, probabilities = distribution(candidates, settings, case["seen_ids"])
    # By id, for a penalty may make two logits equal, whose order transformers leaves open.
    ours = dict(zip(ids.tolist(), probabilities.tolist(), strict=True))
    theirs = dict(zip(case["ids"], case["probabilities"], strict=True))
    assert ours.keys() == theirs.keys()
    # float32 softmax of logits up to 8 / 0.25 on their side: a few 1e-6.
    assert ours == pytest.approx(theirs, rel=2e-5, abs=1e-12)


def test_the_golden_cases_use_every_setting_and_leave_it_out():
    off = {"temperature": 1, "top_k": 0, "top_p": 1, "min_p": 0, "repeat_penalty": 1}
    for name, value in off.items():
        uses = {case["settings"][name] == value for case in GOLDEN}
        assert uses == {True, False}, name
