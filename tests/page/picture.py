"""Takes the README's picture: the page before a server that runs, while it answers."""

import os
import shutil
import sys

from playwright.sync_api import sync_playwright

from tests.page.conftest import ask, finished
from tests.support.cluster_process import eventually

SIZE = {"width": 1100, "height": 760}
QUESTIONS = (
    "Where do foxes live?",
    "Write a long story about a fox who finds three small computers in a forest.",
)
ENOUGH = 500  # letters of the last answer
PATIENCE_S = 120.0  # a Pi thinks longer than the machine that this was written on


def take(url: str, file: str) -> None:
    """Ask at ``url``, and keep what is shown in the midst of the last answer as ``file``."""
    with sync_playwright() as playwright:
        chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport=SIZE, color_scheme="dark")
        page.set_default_timeout(1_000 * PATIENCE_S)
        page.goto(url)
        page.locator(".drawing .node").first.wait_for()
        for question in QUESTIONS[:-1]:
            ask(page, question)
            finished(page)
        ask(page, QUESTIONS[-1])
        said = page.locator(".assistant .said").last
        eventually(said.inner_text, lambda text: len(text) > ENOUGH, PATIENCE_S)
        page.screenshot(path=file)
        browser.close()


if __name__ == "__main__":
    take(*sys.argv[1:])
