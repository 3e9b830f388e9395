"""The page before a real server and three real workers: what it draws is what is there."""

import re
import signal

import pytest

from tests.page.conftest import PHONE, ask, expect, finished
from tests.page.test_looking import violations
from tests.support.asking import ENDLESS_IDS
from tests.support.cluster_process import Cluster
from tests.support.event_stream import parse, posting
from tests.support.servers import serving

pytestmark = pytest.mark.browser

NAMES = ("pi1", "pi2", "pi3")
ENDLESS = {"prompt": ENDLESS_IDS, "temperature": 0, "repeat_penalty": 1e9, "stream": True}


@pytest.fixture(scope="module")
def workers():
    """Running workers by name, with their addresses."""
    return {}


@pytest.fixture(scope="module")
def real(tmp_path_factory, workers):
    """A server of the embedded model on three workers, with room for one text at once."""
    folder = tmp_path_factory.mktemp("cluster")
    with Cluster(folder, folder / "cache") as cluster:
        workers.update({name: cluster.start_worker(name) for name in NAMES})
        addresses = ",".join(address for _, address in workers.values())
        cluster.up("--nodes", addresses, "--texts", "1")
        with serving(cluster) as server:
            yield server


def start_again(cluster, name, address):
    words = ("--listen", address, "--no-mdns", "--name", name)
    running = cluster.start("worker", *words, "--data-dir", str(cluster.folder / name))
    assert running.read_line().startswith("ready ")
    return running


def answered(page):
    """The text of the last answer, once it is complete."""
    finished(page)
    return page.locator(".assistant .said").last.inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_an_answer_streams_beside_the_drawing_of_the_nodes(visit, real, axe, scheme):
    page = visit(real.port, size=PHONE, color_scheme=scheme)
    nodes = page.locator(".drawing .node .name")
    expect(nodes).to_have_text(NAMES)
    record = real.cluster.record()
    told = [f"layers {one.layers.start}–{one.layers.stop - 1}" for one in record.addresses]
    expect(page.locator(".drawing .node .layers")).to_have_text(told)
    ask(page, "Tell me a story about a fox.")
    page.get_by_text(re.compile("1 running")).wait_for()
    assert len(answered(page)) > 100
    expect(page.locator(".figures")).to_contain_text("tokens/s")
    expect(page.locator("#cluster .summary")).to_contain_text("nobody asks")
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= PHONE["width"]
    assert violations(page, axe) == {}


def test_a_question_shows_its_place_in_the_queue_and_how_far_it_is_read(visit, real, workers):
    page = visit(real.port)
    with posting(real, "/v1/completions", ENDLESS | {"max_tokens": 4000}) as talking:
        assert next(parse(talking))["choices"]
        ask(page, "Tell me a story about a dog.")
        page.get_by_text("Next in the queue").wait_for()
        page.get_by_text("1 running · 1 waiting").wait_for()
        # A node that is held up for a moment makes the reading of a prompt long enough to see.
        workers["pi2"][0].send(signal.SIGSTOP)
    try:
        page.get_by_text(re.compile(r"Reading the prompt: \d+ of \d+ tokens")).wait_for()
        assert page.locator("progress").is_visible()
    finally:
        workers["pi2"][0].send(signal.SIGCONT)
    assert answered(page)


def test_a_node_that_is_lost_is_drawn_so_and_its_return_too(visit, real, workers):
    page = visit(real.port, size=PHONE)
    running, address = workers["pi2"]
    running.send(signal.SIGKILL)
    running.process.wait()
    lost = page.locator(".drawing .unwell")
    expect(lost.locator(".name")).to_have_text("pi2")
    expect(lost.locator(".trouble")).to_have_text("✕ lost")
    expect(page.locator("#cluster .note")).to_contain_text("pi2")
    ask(page, "Tell me a story about a cat.")
    page.get_by_text(re.compile(r"Waiting: pi2 .*")).wait_for()
    for told in (page.locator("#cluster .note"), page.locator(".standing-line")):
        expect(told).to_be_in_viewport(ratio=1)
    page.get_by_text("healing · 1 waiting").wait_for()
    workers["pi2"] = start_again(real.cluster, "pi2", address), address
    assert answered(page)
    expect(lost).to_have_count(0)
    expect(page.locator("#cluster .note")).to_be_hidden()


def test_without_a_pipeline_it_says_how_one_comes_up(visit, real):
    page = visit(real.port)
    assert real.cluster.run("down").code == 0
    expect(page.locator("#cluster .note")).to_contain_text("pi-cluster up")
    expect(page.locator(".drawing")).to_be_hidden()
