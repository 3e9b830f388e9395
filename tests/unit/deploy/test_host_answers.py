"""What a host answers over SSH is what the operator expects, or an error that names the field."""

import json
import math

import pytest

from pi_cluster.cluster.errors import HostError
from pi_cluster.deploy.hosts.answers import Health, HostFacts
from tests.support.host_answers import a_pi
from tests.support.hostile import HOSTILE, steering

HEALTH = {"state": "active (running)", "is_active": True, "restarts": 2}
WRONG = (None, True, -1, 1 << 70, 0.5, math.nan, "x" * (1 << 20), HOSTILE, [], [[]], {}, {"a": 1})
# What must be empty, or may be told as something else.
FINE = {
    **dict.fromkeys(("system", "machine", "implementation"), (HOSTILE,)),
    **dict.fromkeys(("glibc", "memory_bytes", "throttled"), (None,)),
    "clock_unix_s": (-1, 0.5),
    "has_systemd": (True,),
    "is_root": (True,),
    "addresses": ([],),
    "other_services": ([],),
    "installed.receipt": ({}, {"a": 1}),
    **{f"installed.{name}": (HOSTILE,) for name in ("environment", "unit")},
    **{f"installed.{name}": (True,) for name in ("is_active", "is_enabled")},
}


def fields(values, within=""):
    for name, value in values.items():
        yield within + name
        if isinstance(value, dict):
            yield from fields(value, f"{within}{name}.")


def changed(field, value):
    told = part = a_pi()
    *folders, name = field.split(".")
    for folder in folders:
        part = part[folder]
    part[name] = value
    return told


def test_a_pi_of_today_is_understood():
    facts = HostFacts.of("pi1", a_pi())
    assert facts.python == (3, 11, 2) and facts.glibc == (2, 36)
    assert facts.disks["data"].free_bytes == 20_000 << 20
    assert facts.addresses == ("192.168.1.10", "fd00::10")
    assert Health.of("pi1", HEALTH) == Health("active (running)", True, 2)


@pytest.mark.parametrize("field", list(fields(a_pi())))
def test_a_field_that_cannot_be_right_is_named_with_its_host(field):
    for value in WRONG:
        if value in FINE.get(field, ()):
            HostFacts.of("pi1", changed(field, value))
            continue
        with pytest.raises(HostError, match=r"^pi1: what it tells as facts\.") as told:
            HostFacts.of("pi1", changed(field, value))
        assert f"facts.{field}" in str(told.value), value
        assert steering(str(told.value)) == [] and len(str(told.value)) < 400


@pytest.mark.parametrize("answer", [None, [], "facts", 7, True])
def test_what_is_no_object_of_facts_is_refused(answer):
    with pytest.raises(HostError, match="pi1: what it tells as facts cannot be right"):
        HostFacts.of("pi1", answer)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("python", [3, 11]),
        ("python", [3, 11, "2"]),
        ("python", [3, 11, 10**9]),
        ("glibc", [2]),
        ("glibc", "2.36"),
        ("addresses", [1]),
        ("addresses", ["::1"] * 1_000),
        ("addresses", ["1" * 5_000]),
        ("other_services", [{"name": "a"}]),
        ("other_services", [{"name": "a", "unit": ""}] * 100),
        ("other_services", ["a"]),
        ("clock_unix_s", math.inf),
        ("clock_unix_s", 10**400),
        ("disks.data.free_bytes", "many"),
    ],
)
def test_parts_of_a_field_are_looked_at(field, value):
    with pytest.raises(HostError, match=rf"pi1: what it tells as facts\.{field.split('.')[0]}"):
        HostFacts.of("pi1", changed(field, value))


@pytest.mark.parametrize("field", HEALTH)
def test_how_a_service_is_must_be_told_in_full(field):
    told = json.loads(json.dumps(HEALTH))
    del told[field]
    with pytest.raises(HostError, match=rf"pi1: what it tells as health\.{field} .*nothing"):
        Health.of("pi1", told)
