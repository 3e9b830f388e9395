"""The tables that an owner of Pis posts: from figures made by hand, and how they are worked out."""

import json

from benchmarks.on_pi.boards import HERE, Board, Health, Way, network_of
from benchmarks.on_pi.figures import Decode, Prefill, differing, rate_together
from benchmarks.on_pi.report import Model, Report, Round
from benchmarks.on_pi.rounds import counts
from pi_cluster.protos import pi_cluster_pb2 as pb

PI_5 = Board(
    model="Raspberry Pi 5 Model B Rev 1.0",
    memory_bytes=8_450_000_000,
    system="Debian GNU/Linux 12 (bookworm), Linux 6.6.51",
    threads=4,
    kernels="dotprod",
    network="cable 1000 Mbit/s",
    version="0.1.0",
)
PI_4 = Board("Raspberry Pi 4", 3_980_000_000, "Debian", 4, "neon", "Wi-Fi", "0.1.0")
WELL = Health(51.4, 1.0, ())


def decode(users, drafts, rate, answers=((5, 6, 7),)):
    return Decode(users, drafts, sum(map(len, answers)), rate, answers)


def report():
    whole = Round(
        nodes=3,
        layers=(12, 12, 8),
        prefill=Prefill(512, 3, 31.04),
        decodes=[decode(1, False, 2.5), decode(1, True, 2.75), decode(4, False, 6.125)],
        before=(WELL, WELL, WELL),
        after=(WELL, Health(81.6, 0.75, ("the processor is throttled",)), Health(None, 1.0, None)),
    )
    return Report(
        began="2026-11-28 09:00",
        is_quick=False,
        commit="0123456789ab",
        boards=(PI_5, PI_4, PI_5),
        ways=(Way(HERE, "1", 0.00021, 1.1e8), Way("1", "2", 0.0031, 9.9e6)),
        model=Model("Qwen3-4B", 32, "q4n, q6", 2_600_000_000, 2_200_000_000),
        rounds=[whole, Round(1, problem="does not fit")],
        remarks=["interrupted"],
    )


def row_of(markdown, first_cell):
    lines = [line for line in markdown.splitlines() if line.startswith(f"| {first_cell} |")]
    assert len(lines) == 1
    return [cell.strip() for cell in lines[0].split("|")[1:-1]]


def test_all_nodes_are_measured_first_and_then_powers_of_two():
    assert counts(1) == [1]
    assert counts(2) == [2, 1]
    assert counts(6) == [6, 1, 2, 4]
    assert counts(8) == [8, 1, 2, 4]


def test_boards_that_are_alike_share_a_line():
    markdown = report().to_markdown()
    memory_and_threads = ["8.45 GB", "4 x dotprod"]
    assert row_of(markdown, "1, 3")[1:4] == ["Raspberry Pi 5 Model B Rev 1.0", *memory_and_threads]
    assert row_of(markdown, "2")[4] == "Wi-Fi"
    assert row_of(markdown, "1 - 2") == ["1 - 2", "3.10", "10"]


def test_a_node_is_connected_by_the_port_at_which_it_was_called():
    cable = pb.NetworkPort(is_up=True, megabits_ps=1000, addresses=["10.0.0.5"])
    radio = pb.NetworkPort(is_up=True, is_wireless=True, addresses=["10.0.1.5"])
    unplugged = pb.NetworkPort(is_up=False, megabits_ps=10)
    ports = [cable, radio, unplugged]
    assert network_of(ports, "10.0.0.5:7701") == "cable 1000 Mbit/s"
    assert network_of(ports, "10.0.1.5:7701") == "Wi-Fi"
    assert network_of(ports, "pi1.local:7701") == "cable 1000 Mbit/s and Wi-Fi"
    assert network_of(ports, "127.0.0.1:7701") == HERE


def test_a_round_is_a_line_with_dashes_for_what_was_not_measured():
    cells = row_of(report().to_markdown(), "3")
    assert cells[1:7] == ["12 + 12 + 8", "31.04 (of 512)", "2.50", "2.75", "6.12", "-"]
    assert cells[7] == "51 - 82"
    assert cells[8] == "1 x the processor is throttled; clock down to 75%"
    assert row_of(report().to_markdown(), "1")[2:7] == ["does not fit", "-", "-", "-", "-"]


def test_firmware_that_says_nothing_is_told_from_firmware_that_is_content():
    measured = Round(1, before=(WELL,), after=(WELL,))
    assert Report("now", False, rounds=[measured]).to_markdown().endswith("| 51 - 51 | fine |\n")
    measured.after = (Health(None, 1.0, None),)
    assert "| 51 - ? | does not tell |" in Report("now", False, rounds=[measured]).to_markdown()


def test_the_table_says_of_what_it_is_and_what_must_be_known():
    markdown = report().to_markdown()
    assert "(0123456789ab), 2026-11-28 09:00" in markdown
    assert "Qwen3-4B: 32 layers in q4n, q6, 2.60 GB, of which 2.20 GB are read" in markdown
    assert markdown.endswith("\n- interrupted\n") and "TRIAL" not in markdown
    assert "TRIAL" in Report("now", is_quick=True).to_markdown()
    small = Report("now", False, model=Model("tiny", 2, "q8", 3_900_000, 3_800_000))
    assert "tiny: 2 layers in q8, 3.9 MB, of which 3.8 MB are read" in small.to_markdown()


def test_the_json_has_the_same_figures_and_no_answers():
    values = json.loads(report().to_json())
    assert values["rounds"][0]["prefill"] == {"tokens": 512, "prompts": 3, "tokens_ps": 31.04}
    assert values["rounds"][0]["decodes"][1] == {
        "users": 1,
        "drafts": True,
        "tokens": 3,
        "tokens_ps": 2.75,
    }
    assert values["boards"][1]["network"] == "Wi-Fi" and values["version"]


def test_users_count_while_all_of_them_are_answered():
    alone = [0.0, 1.0, 1.5, 2.0]
    assert rate_together([alone]) == 3 / 2.0
    # From 1.0 to 4.0: 2 tokens in 1 s after the first within it, and 3 in 3 s.
    assert rate_together([[0.0, 1.0, 1.5, 2.0, 9.0], [1.0, 2.0, 3.0, 4.0]]) == 2 / 1.0 + 3 / 3.0


def test_answers_that_are_too_short_have_no_rate():
    assert rate_together([[]]) is None
    assert rate_together([[1.0]]) is None
    assert rate_together([[1.0, 1.0]]) is None
    assert rate_together([[0.0, 1.0], [2.0, 3.0]]) is None  # one had ended before the other began


def test_answers_differ_only_where_both_went_on():
    plain = decode(1, False, 1.0, ((5, 6, 7, 8),))
    assert not differing(plain, decode(1, True, 1.0, ((5, 6),)))
    assert not differing(decode(1, True, 1.0, ((5, 6),)), plain)
    assert differing(plain, decode(1, True, 1.0, ((5, 9),)))
