"""`prompt` and `chat` while a server runs: the same words, asked beside everybody else's."""

import os
import signal
import subprocess

import pytest

from tests.support.asking import ENDLESS_IDS, FOX
from tests.support.servers import kept_waiting, serving

GREEDY = ("--temperature", "0", "--max-tokens", "20")
ENDLESS = ("--ids", ",".join(map(str, ENDLESS_IDS)), "--repeat-penalty", "1e9", "--seed", "3")
TALK = b"Who are you?\n/nonsense\nAnd who is the fox?\n"
FIGURES = {"text", "prompt_ids", "ids", "finish_reason", "timings", "stages"}
# At its end a program tells what it has imported.
AT_EXIT = """
import atexit, sys
atexit.register(lambda: print("imported", *sys.modules, file=sys.stderr))
"""


@pytest.fixture(scope="module")
def asked(make_cluster):
    """What the nodes answered before there was a server, and a server of the same pipeline."""
    with make_cluster() as cluster:
        cluster.up("--local", "2", "--texts", "8")
        words = {
            "text": ("prompt", FOX, *GREEDY),
            "json": ("prompt", FOX, *GREEDY, "--json"),
            "raw": ("prompt", "The fox", "--raw", *GREEDY, "--stop", "."),
            "ids": ("prompt", "--ids", "1,3,2,558", *GREEDY),
            "sampled": ("prompt", FOX, "--seed", "7", "--max-tokens", "20", "--min-p", "0.1"),
            "too hot": ("prompt", FOX, "--temperature", "-1"),
            "stopless": ("prompt", FOX, "--stop", ""),
        }
        alone = {name: cluster.run(*said) for name, said in words.items()}
        chat = cluster.run("chat", *GREEDY, "--system", "Be brief.", stdin=TALK)
        with serving(cluster) as server:
            yield server, words, alone, chat


@pytest.mark.parametrize("name", ["text", "raw", "ids", "sampled", "too hot", "stopless"])
def test_a_server_answers_as_the_nodes_do_to_the_last_character(asked, name):
    server, words, alone, _ = asked
    assert server.cluster.run(*words[name]) == alone[name]


def test_the_figures_are_those_of_the_nodes(asked):
    server, words, alone, _ = asked
    by_nodes, by_server = alone["json"].json(), server.cluster.run(*words["json"]).json()
    assert by_server.keys() == by_nodes.keys() == FIGURES
    for name in ("text", "prompt_ids", "ids", "finish_reason"):
        assert by_server[name] == by_nodes[name]
    assert by_server["timings"].keys() == by_nodes["timings"].keys()
    assert by_server["timings"]["decode_tps"] > 0
    assert [s["node"] for s in by_server["stages"]] == [s["node"] for s in by_nodes["stages"]]


def test_a_chat_goes_on_as_with_the_nodes(asked):
    server, _, _, chat = asked
    assert chat.code == 0 and "is no command" in chat.err
    again = server.cluster.run("chat", *GREEDY, "--system", "Be brief.", stdin=TALK)
    assert again == chat


def test_what_asks_a_server_loads_neither_arithmetic_nor_the_wire(asked, tmp_path):
    server, words, _, _ = asked
    (tmp_path / "sitecustomize.py").write_text(AT_EXIT)
    env = server.cluster.env | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        server.cluster.words(*words["text"]), env=env, capture_output=True, text=True, timeout=40
    )
    told = done.stderr.splitlines()[-1].split()
    assert done.returncode == 0 and told[0] == "imported"
    heavy = {"numpy", "grpc", "google.protobuf", "sentencepiece", "jinja2", "zeroconf"}
    assert set(told) & heavy == set()


def test_ctrl_c_ends_the_answer_with_what_has_come(asked):
    server, *_ = asked
    running = server.cluster.start("prompt", *ENDLESS, "--max-tokens", "1500", "--verbose")
    running.read(1)
    running.send(signal.SIGINT)
    outcome = running.end()
    assert outcome.code == 130 and outcome.out.endswith("\n")
    count = int(outcome.err.split("eval count:")[-1].split()[0])
    assert 0 < count < 1500


def test_an_address_and_a_key_lead_to_a_server_of_another_machine(make_cluster, tmp_path):
    with make_cluster() as cluster:
        cluster.up("--local", "1")
        key = cluster.run("key", "create", "phone").out.strip()
        with serving(cluster) as server:
            elsewhere = {name: str(tmp_path) for name in ("XDG_STATE_HOME", "XDG_CONFIG_HOME")}
            env = cluster.env | elsewhere | {"PI_CLUSTER_URL": server.url}

            def prompt(**more):
                words = cluster.words("prompt", "Hello", "--max-tokens", "2")
                return subprocess.run(
                    words, env=env | more, capture_output=True, text=True, timeout=60
                )

            assert prompt(PI_CLUSTER_API_KEY=key).returncode == 0
            for wrong in ("", "wrong"):
                refused = prompt(PI_CLUSTER_API_KEY=wrong)
                assert (
                    refused.returncode == 1 and "PI_CLUSTER_API_KEY has the key" in refused.stderr
                )
            nowhere = prompt(PI_CLUSTER_URL="http://127.0.0.1:1")
            assert "does not answer (Connection refused)" in nowhere.stderr
            for url in ("pi.local", "http://pi.local:8080/chat"):
                none = prompt(PI_CLUSTER_URL=url)
                assert "it must be as http://pi.local:8080" in none.stderr


def test_a_server_that_is_killed_midway_is_named_and_the_nodes_are_asked_again(make_cluster):
    with make_cluster() as cluster:
        cluster.up("--local", "1")
        with serving(cluster) as server:
            words = (*ENDLESS, "--max-tokens", "1500", "--heal-timeout", "0")
            running = cluster.start("prompt", *words)
            running.read(1)
            os.kill(server.process_id, signal.SIGKILL)
            outcome = running.end()
        assert outcome.code == 1 and "the server" in outcome.err and "ask again" in outcome.err
        assert cluster.run("prompt", FOX, *GREEDY).code == 0


def test_bench_has_the_server_hold_its_clients_and_gives_the_pipeline_back(asked):
    server, words, alone, _ = asked
    quick = ("bench", "--prompt-tokens", "8", "--gen-tokens", "4", "--format", "json")
    bench = server.cluster.start(*quick, "--repeat", "100000")
    waiting = kept_waiting(server, words["text"])
    bench.send(signal.SIGKILL)
    assert bench.end().code == -signal.SIGKILL
    assert waiting.end().out == alone["text"].out
    assert server.cluster.run(*quick, "--repeat", "1").code == 0
    assert server.cluster.run(*words["text"]) == alone["text"]


def test_status_and_down_speak_of_the_server(make_cluster):
    with make_cluster() as cluster:
        cluster.up("--local", "1")
        assert cluster.status()["server"] is None
        with serving(cluster) as server:
            assert f"server: {server.url}, nobody being answered" in cluster.run("status").out
            assert cluster.status()["server"]["running"] == 0
            down = cluster.run("down")
            assert f"the server at {server.url} goes on" in down.err
            refused = cluster.run("prompt", "Hello")
            assert refused.code == 1 and "pi-cluster up" in refused.err
            cluster.up("--local", "1")
            assert cluster.run("prompt", FOX, *GREEDY).code == 0
