"""How many requests may wait, and who is never one too many."""

import pytest

from pi_cluster.cluster.errors import QueueFull
from pi_cluster.coordinator.generation import Generation, GenerationOptions
from pi_cluster.coordinator.measurement import Measurement
from pi_cluster.coordinator.scheduling.requests import Requests
from pi_cluster.transformer.sampling_settings import SamplingSettings


def generation():
    options = GenerationOptions(SamplingSettings(), 5)
    return Generation([1], options, Measurement(()), lambda _: None)


def test_who_had_a_place_before_its_session_was_lost_is_not_refused_as_one_too_many():
    requests = Requests(1)
    requests.add(generation())
    with pytest.raises(QueueFull):
        requests.add(generation())
    requests.add(generation(), had_place=True)
    assert requests.waiting == 2
