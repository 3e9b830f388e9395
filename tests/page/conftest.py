"""A Chromium for all tests of the page, and a page of its own for each."""

import os
import shutil
from pathlib import Path

import pytest

from tests.support.page_server import PageServer, Scripted

WIDE = {"width": 1200, "height": 800}
PHONE = {"width": 360, "height": 740}


@pytest.fixture(scope="session")
def browser():
    """Debian's Chromium; `http://pi.local` is this machine, and no secure context to it."""
    from playwright.sync_api import sync_playwright

    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    assert chromium, "no Chromium is installed: apt install chromium, or name it in CHROMIUM"
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=chromium,
            args=["--no-sandbox", "--host-resolver-rules=MAP pi.local 127.0.0.1"],
        )
        yield started
        started.close()


@pytest.fixture
def script():
    """What the server says in this test."""
    return Scripted()


@pytest.fixture
def server(script):
    """The page before a server that follows the script."""
    with PageServer(script) as serving:
        yield serving


@pytest.fixture
def visit(browser):
    """Opens pages, which fetch nothing elsewhere and violate no policy."""
    contexts, wrong = [], []

    def open_page(port, size=WIDE, host="pi.local", **options):
        context = browser.new_context(viewport=size, accept_downloads=True, **options)
        context.set_default_timeout(15_000)
        contexts.append(context)
        page = context.new_page()
        origin = f"http://{host}:{port}/"

        def on_request(request):
            if not request.url.startswith((origin, f"blob:{origin}", "data:")):
                wrong.append(f"fetched {request.url}")

        page.on("request", on_request)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda told: violates(told.text) and wrong.append(told.text))
        page.goto(origin)
        page.wait_for_selector("#cluster:not([hidden]) .node, dialog[open]")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert wrong == []


def violates(text):
    """Whether the console tells of a thing that the policy forbids."""
    return "Content Security Policy" in text or "TrustedHTML" in text


@pytest.fixture(scope="session")
def axe():
    """axe-core's text, which `make test-page` fetches."""
    return Path(os.environ["AXE"]).read_text()


def ask(page, question):
    """Ask by keyboard."""
    page.locator("#question").fill(question)
    page.locator("#question").press("Enter")


def finished(page):
    """Wait until no answer comes any more."""
    page.wait_for_selector("#send:not([hidden])")
    page.wait_for_selector(".message.assistant:last-child .actions")


def expect(locator):
    """What playwright waits for; imported here, since other tests do without it."""
    from playwright.sync_api import expect as waiting_for

    return waiting_for(locator)
