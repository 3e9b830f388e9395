"""The plan of a fault campaign, and what it counts."""

from collections import Counter

import pytest

from tests.faults.plan import ON_NODES, ON_USERS, Kind, draw_rounds, each_kind_once
from tests.faults.tally import (
    MOST_MORE_DESCRIPTORS,
    NO_FAULT,
    WARM_LOOKS,
    Findings,
    Looks,
    Tally,
    difference,
    longest_pause_s,
)


def test_one_seed_is_one_plan():
    assert draw_rounds(7, 60) == draw_rounds(7, 60) != draw_rounds(8, 60)


@pytest.mark.parametrize("faults", [1, 20, 300])
def test_a_plan_has_as_many_faults_as_asked_for_and_each_kind_as_often(faults):
    struck = [fault for one in draw_rounds(3, faults) for fault in one.faults]
    counts = Counter(fault.kind for fault in struck)
    assert len(struck) == faults
    assert max(counts.values()) - min(counts[kind] for kind in Kind) <= 1


def test_faults_strike_hosts_that_there_are_and_the_programs_that_were_asked():
    rounds = draw_rounds(5, 300)
    for one in rounds:
        hosts = [fault.host for fault in one.faults if fault.kind not in ON_USERS]
        assert all(1 <= host <= one.nodes for host in hosts) and len(set(hosts)) == len(hosts)
        if any(fault.kind is Kind.SERVER for fault in one.faults):
            assert one.through_server
    assert {one.nodes for one in rounds} == {3, 4}
    assert {len(one.asks) for one in rounds} == {1, 2, 4, 8}
    assert any(len(one.faults) == 2 for one in rounds)
    assert {one.through_server for one in rounds} == {True, False}
    assert {ask.draft for one in rounds for ask in one.asks} == {True, False}
    assert any(not one.after_tokens for one in rounds)


def test_two_faults_at_once_are_a_kind_of_their_own():
    kinds = {one.kind for one in draw_rounds(5, 300)}
    assert "two at once" in kinds
    assert {
        "worker killed, away for longer",
        "worker killed, away for longer, others hold copies",
    } < (kinds)


def test_no_fault_lasts_longer_than_it_may():
    lasting = [fault.lasts_s for one in draw_rounds(5, 60, longest_s=4.0) for fault in one.faults]
    assert max(lasting) == 4.0


def test_a_pause_counts_from_the_fault_on():
    assert longest_pause_s([1.0, 9.0, 9.5, 12.0], struck=8.0) == 2.5
    assert longest_pause_s([1.0, 9.0], struck=2.0) == 7.0
    assert longest_pause_s([1.0], struck=2.0) == 0.0


def test_an_answer_that_differs_is_told():
    whole = {"ids": [1, 2], "text": "ab"}
    assert not difference({"ids": [1, 2], "text": "ab"}, whole)
    assert not difference({"text": "ab"}, whole)
    assert "ids" in difference({"ids": [1, 3], "text": "ab"}, whole)
    assert "text" in difference({"text": "a"}, whole)


def test_a_campaign_without_answers_is_not_good():
    assert not Findings().is_good
    assert Findings(answers=1).is_good
    assert not Findings(answers=1, hangs=["round 1"]).is_good


def test_a_process_that_grows_when_it_is_warm_leaks():
    looks = Looks()
    for look in range(WARM_LOOKS):
        assert not looks.grown("pi1", 5, (30 * look, 10))
    warm = 30 * (WARM_LOOKS - 1)
    assert not looks.grown("pi1", 5, (warm + MOST_MORE_DESCRIPTORS, 10))
    more = warm + MOST_MORE_DESCRIPTORS + 1
    assert looks.grown("pi1", 5, (more, 10)) == [f"pi1 has {more} descriptors, {warm} when warm"]


def test_the_table_has_a_row_by_kind_and_one_of_all():
    tally = Tally()
    tally.add("killed", Findings(1, 8, heal_s=[1.0]))
    tally.add("killed", Findings(1, 2, wrong=["round 4"], heal_s=[2.0]))
    tally.add("frozen", Findings(2, 1, heal_s=[8.0]))
    tally.add(NO_FAULT, Findings())
    assert tally.table().splitlines()[2:] == [
        "| frozen | 2 | 1 | 0 | 0 | 0 | 0 | 8.0 | 8.0 |",
        "| killed | 2 | 10 | 1 | 0 | 0 | 0 | 1.5 | 2.0 |",
        "| all | 4 | 11 | 1 | 0 | 0 | 0 | 3.7 | 8.0 |",
    ]


def test_what_is_bad_outside_of_all_rounds_is_counted_too():
    tally = Tally()
    tally.add(NO_FAULT, Findings(leaks=["3 nodes hold something"]))
    assert tally.total.bad == ["3 nodes hold something"]
    assert f"| {NO_FAULT} | 0 | 0 | 0 | 0 | 0 | 1 |" in tally.table()


def test_each_kind_strikes_once_before_any_strikes_again_and_none_is_lost():
    drawn = [f for one in draw_rounds(1, 200, ON_NODES) for f in one.faults]
    ordered = each_kind_once(drawn)
    assert {fault.kind for fault in ordered[: len(ON_NODES)]} == set(ON_NODES)
    assert sorted(map(repr, ordered)) == sorted(map(repr, drawn))
    assert each_kind_once(ordered) == ordered
