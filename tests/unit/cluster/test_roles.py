"""The table of who may call what has a row for every method, and says what the design says."""

import pytest

from pi_cluster.cluster.trust.identity import Role
from pi_cluster.cluster.trust.roles import ENROLMENT_RULES, WORKER_RULES
from pi_cluster.protos import pi_cluster_pb2 as pb

SERVICES = pb.DESCRIPTOR.services_by_name


def methods(service):
    return {f"/{SERVICES[service].full_name}/{one.name}" for one in SERVICES[service].methods}


@pytest.mark.parametrize(
    ("service", "rules"), [("Worker", WORKER_RULES), ("Enrolment", ENROLMENT_RULES)]
)
def test_every_method_of_the_protocol_has_a_rule_and_no_other_has(service, rules):
    assert methods(service) == rules.keys()


def test_only_these_methods_take_others_than_the_operator():
    open_to = {
        name.rpartition("/")[2]: rule.roles - {Role.OPERATOR}
        for name, rule in WORKER_RULES.items()
        if rule.roles != {Role.OPERATOR}
    }
    assert open_to == {
        "Describe": {Role.HEALER, Role.COORDINATOR, Role.NODE},
        "Ping": {Role.HEALER, Role.COORDINATOR, Role.NODE},
        "RunSteps": {Role.HEALER, Role.COORDINATOR, Role.NODE},
        "CollectResults": {Role.HEALER, Role.COORDINATOR},
        "GetShard": {Role.NODE},
        "Echo": {Role.HEALER, Role.NODE},
        "FindShards": {Role.HEALER},
        "FetchShard": {Role.HEALER},
        "LoadStage": {Role.HEALER},
        "UnloadStage": {Role.HEALER},
        "MeasureNode": {Role.HEALER},
        "MeasureLink": {Role.HEALER},
    }


def test_a_healer_may_do_all_that_a_coordinator_may():
    asking = [rule.roles for rule in WORKER_RULES.values() if Role.COORDINATOR in rule.roles]
    assert asking and all(Role.HEALER in roles for roles in asking)


def test_the_operator_may_call_everything():
    assert all(Role.OPERATOR in rule.roles for rule in WORKER_RULES.values())
