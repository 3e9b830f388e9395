"""Messages as JSON: every field, absent ones as null, and nothing that JSON has no word for."""

import json

from pi_cluster.deploy.screen.message_json import to_json
from pi_cluster.protos import pi_cluster_pb2 as pb


def test_all_fields_are_there_and_numbers_are_numbers():
    values = to_json(pb.Examination(swap_bytes=1 << 60, heard=["a"], ports=[pb.NetworkPort()]))
    assert values["swap_bytes"] == 1 << 60 and values["heard"] == ["a"]
    assert values["ports"][0]["megabits_ps"] == 0
    assert values.keys() == set(pb.Examination.DESCRIPTOR.fields_by_name)


def test_what_is_absent_is_null_and_what_is_zero_is_zero():
    absent, present = pb.Examination(), pb.Examination(throttled=0, clock_synchronised=False)
    assert to_json(absent)["throttled"] is None and to_json(absent)["clock_synchronised"] is None
    assert to_json(present)["throttled"] == 0 and to_json(present)["clock_synchronised"] is False
    assert to_json(pb.NodeDescription())["stage"] is None


def test_bytes_are_hexadecimal_and_impossible_numbers_null():
    assert to_json(pb.Challenge(nonce=b"\xff\x00"))["nonce"] == "ff00"
    values = to_json(pb.Examination(load=float("nan"), uptime_s=float("inf")))
    assert json.loads(json.dumps(values, allow_nan=False))["load"] is None
