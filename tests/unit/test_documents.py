"""Documents are true where a program can tell: what they name exists, and they read well."""

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.support.own_sources import ROOT

DOCUMENTS = [
    *("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"),
    *(path.relative_to(ROOT).as_posix() for path in sorted(ROOT.glob("docs/*.md"))),
]
TRACKED_FOLDERS = {
    path.name
    for path in ROOT.iterdir()
    if path.is_dir() and not path.name.startswith(".") and path.name not in ("build", "dist")
}
PACKAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for folder in TRACKED_FOLDERS - {"tests"}
    for path in (ROOT / folder).rglob("__init__.py")
)
LONGEST_LINE = 100
LONGEST_README = 120

FENCED = re.compile(r"^( *)```.*?^\1```", re.MULTILINE | re.DOTALL)
QUOTED = re.compile(r"(?<!`)`([^`]+)`(?!`)")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
TARGET = re.compile(r"(?:`|^)make ([a-z][\w-]*)", re.MULTILINE)
MACHINES = {"x86", "emulated", "simulated", "modelled"}
# Formats of our sources: `config.json` is a checkpoint's, `cluster.toml` somebody's own.
FILE_NAME = re.compile(r"[\w./-]+\.(?:py|c|h|md|proto|cmake)")
PATH = re.compile(r"[\w.-]+(?:/[\w.-]+)*/?")


def text_of(document: str) -> str:
    """A document, or what a package says of itself."""
    text = (ROOT / document).read_text(encoding="utf-8")
    return ast.get_docstring(ast.parse(text)) or "" if document.endswith(".py") else text


def prose_of(document: str) -> str:
    """A document without its blocks of code, line for line."""
    return FENCED.sub(lambda block: "\n" * block[0].count("\n"), text_of(document))


def paths_quoted(paragraph: str) -> list[str]:
    """What stands between backquotes and means a file or folder of this repository."""
    return [
        name
        for name in QUOTED.findall(paragraph)
        if FILE_NAME.fullmatch(name)
        or (PATH.fullmatch(name) and "/" in name and name.split("/")[0] in TRACKED_FOLDERS)
    ]


def missing_paths(document: str) -> list[str]:
    """Paths count from the root or from the document; a file's bare name, from a neighbour's too.

    That neighbour, or the folder, is named by such a path in the same paragraph.
    """
    missing = []
    for paragraph in re.split(r"\n\s*\n|\n(?=[|-])", prose_of(document)):
        names = paths_quoted(paragraph)
        folders = [ROOT, (ROOT / document).parent]
        whole = [at / name for name in QUOTED.findall(paragraph) if "/" in name for at in folders]
        folders += [path if path.is_dir() else path.parent for path in whole]
        missing += [name for name in names if not any((at / name).exists() for at in folders)]
    return missing


@cache
def anchors_of(document: Path) -> set[str]:
    """What GitHub calls the headings of a document."""
    text = FENCED.sub("", document.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def is_broken(document: str, link: str) -> bool:
    path, _, anchor = link.partition("#")
    target = (ROOT / document).parent / path if path else ROOT / document
    return not target.exists() or (bool(anchor) and anchor not in anchors_of(target))


def test_the_documents_are_found():
    assert {"README.md", "docs/commands.md", "docs/operations.md"} <= set(DOCUMENTS)
    assert {"worker/__init__.py", "deploy/doctor/rules/__init__.py"} <= set(PACKAGES)


def test_what_is_checked_can_fail():
    assert paths_quoted("`worker/gone.py`, `gone.py`, `deploy/` but not `config.json`, `a/b`") == [
        *("worker/gone.py", "gone.py", "deploy/")
    ]
    assert is_broken("README.md", "docs/gone.md")
    assert is_broken("README.md", "ARCHITECTURE.md#gone")
    assert not is_broken("docs/security.md", "../ARCHITECTURE.md#words")


@pytest.mark.parametrize("document", [*DOCUMENTS, *PACKAGES])
def test_every_file_that_a_document_names_exists(document):
    assert missing_paths(document) == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_link_between_documents_leads_somewhere(document):
    links = [link for link in LINK.findall(prose_of(document)) if "://" not in link]
    assert [link for link in links if is_broken(document, link)] == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_prose_wraps(document):
    long = [
        f"{document}:{number}"
        for number, line in enumerate(prose_of(document).splitlines(), 1)
        if len(line) > LONGEST_LINE and not line.lstrip().startswith("|")
    ]
    assert long == []


def test_the_readme_is_short():
    assert len(text_of("README.md").splitlines()) <= LONGEST_README


def test_a_headline_figure_has_its_machine_and_is_one_that_was_measured():
    measured = text_of("docs/measurements.md")
    rows = [
        line.split("|") for line in text_of("README.md").splitlines() if "measurements.md#" in line
    ]
    assert len(rows) > 5
    for _, what, figures, machine, _, _ in rows:
        assert machine.strip() in MACHINES, what
        assert all(figure in measured for figure in re.findall(r"[\d.]+\d", figures)), what


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_target_that_a_document_names_can_be_made(document):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = set(TARGET.findall(text_of(document)))
    assert named <= set(re.findall(r"^([\w-]+):", makefile, re.MULTILINE))


def test_the_page_of_commands_says_what_the_commands_say():
    made = subprocess.run(
        [sys.executable, "docs/commands.py"], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert made.returncode == 0, made.stderr
    page = (ROOT / "docs/commands.md").read_text(encoding="utf-8")
    assert made.stdout == page, "docs/commands.md is stale: run `make docs`"
