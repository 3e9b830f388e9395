"""Names of models on a hub, as people type or paste them.

    ORG/REPO                        huggingface.co/ORG/REPO, at the head of its main branch
    ORG/REPO@REVISION               a branch, a tag or a commit
    ORG/REPO:Q4_K_M                 one quantisation of a repository of GGUF files
    https://huggingface.co/ORG/...  from a browser: a repository's page, or that of a file

Written out, a name always is the first three.
"""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Self
from urllib.parse import unquote, urlsplit

from pi_cluster.cluster.errors import HubError
from pi_cluster.cluster.shown import shown_line

_PART = r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,94}[A-Za-z0-9_])?"
_NAME = re.compile(
    rf"(?P<org>{_PART})/(?P<repo>{_PART})"
    r"(?:@(?P<revision>[A-Za-z0-9_][A-Za-z0-9_./-]{0,99}))?"
    r"(?::(?P<quantisation>[A-Za-z0-9_][A-Za-z0-9_.-]{0,149}))?"
)
_SHORT = re.compile(
    rf"(?P<repo>{_PART})(?::(?P<quantisation>[A-Za-z0-9_][A-Za-z0-9_.-]{{0,149}}))?"
)
_HOSTS = ("huggingface.co", "www.huggingface.co", "hf.co")
_NOT_OF_MODELS = ("datasets", "spaces", "docs", "collections", "papers", "blog")
_LONGEST = 500
_HOW = (
    "a model is named ORG/REPO as on huggingface.co, ORG/REPO@REVISION, or ORG/REPO:Q4_K_M for one "
    "quantisation of a GGUF repository"
)


@dataclass(frozen=True, slots=True)
class ModelName:
    """A repository, and which revision or GGUF quantisation of it, where that was said."""

    org: str
    repo: str
    revision: str | None = None
    quantisation: str | None = None
    """Of a repository of GGUF files: what its file names have, or the name of one file."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Understand what somebody typed or pasted; raises ``HubError`` for what is no name."""
        asked = text.strip()
        match = _NAME.fullmatch(_without_site(asked)) if len(asked) <= _LONGEST else None
        if match is None or ".." in match[0] or "--" in f"{match['org']}/{match['repo']}":
            raise HubError(f"{shown_line(asked[:80])!r} names no model: {_HOW}")
        return cls(**match.groupdict())

    @property
    def repo_id(self) -> str:
        """``ORG/REPO``."""
        return f"{self.org}/{self.repo}"

    @property
    def folder_name(self) -> str:
        """One folder's name for each name, on any file system.

        Neither part of a repository's name has ``--``, and no name has ``+`` or ``=``.
        """
        return str(self).replace("/", "--", 1).replace("/", "+").replace(":", "=")

    def means(self, other: "ModelName") -> bool:
        """Whether this, which may leave out revision and quantisation, is said of ``other``."""
        return self.repo_id.lower() == other.repo_id.lower() and all(
            said is None or said.lower() == (has or "").lower()
            for said, has in (
                (self.revision, other.revision),
                (self.quantisation, other.quantisation),
            )
        )

    def __str__(self) -> str:
        revision = f"@{self.revision}" if self.revision else ""
        return f"{self.repo_id}{revision}{f':{self.quantisation}' if self.quantisation else ''}"


def is_short_for(text: str, name: ModelName) -> bool:
    """Whether ``text`` is a repository's own name, as in ``REPO`` or ``REPO:Q4_K_M``."""
    match = _SHORT.fullmatch(text)
    if match is None:
        return False
    said = ModelName(name.org, match["repo"], quantisation=match["quantisation"])
    return said.means(name)


def _without_site(text: str) -> str:
    """``ORG/REPO...`` of an address; what else was typed comes back as it is."""
    scheme, _, rest = text.rpartition("://")
    if scheme not in ("", "http", "https") or rest.partition("/")[0].lower() not in _HOSTS:
        return text
    path = unquote(urlsplit(f"https://{rest}").path).strip("/")
    org, repo, kind, *more = [*path.split("/"), "", "", ""]
    if org in _NOT_OF_MODELS:
        raise HubError(f"{shown_line(text[:80])!r} is an address of {org}, not of a model: {_HOW}")
    more = [part for part in more if part]
    if kind not in ("tree", "blob", "resolve") or not more:
        return f"{org}/{repo}"
    # A branch with a slash in its name cannot be told from a folder; pull requests have some.
    revision, *inner = ["/".join(more[:3]), *more[3:]] if more[0] == "refs" else more
    at = "" if revision == "main" else f"@{revision}"
    is_gguf = bool(inner) and PurePosixPath(inner[-1]).suffix.lower() == ".gguf"
    return f"{org}/{repo}{at}{f':{inner[-1]}' if is_gguf else ''}"
