"""This repository as others meet it: as a clone, and as the lines that its documents print."""

import re
import shutil
from pathlib import Path

ROOT = Path(__file__).parents[2]

_MADE_HERE = (
    "*.egg-info",
    ".venv",
    ".git",
    "build",
    "dist",
    ".*_cache",
    "__pycache__",
    ".hypothesis",
)


def make_clone(folder: Path) -> Path:
    """Copy the repository, without what was made in it, to ``folder``."""
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(*_MADE_HERE))
    return folder


def printed_lines(document: str, heading: str) -> list[list[str]]:
    """The lines of each block of shell commands in one section of a document."""
    _, found, after = (ROOT / document).read_text().partition(f"\n## {heading}\n")
    assert found, f"{document} has no section {heading!r}"
    section = after.partition("\n## ")[0]
    blocks = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    return [block.splitlines() for block in blocks]
