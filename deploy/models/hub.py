"""A hub of models as huggingface.co serves it: what a repository has, and its files.

`huggingface_hub` knows where the hub is (HF_ENDPOINT), who asks (HF_TOKEN, `hf auth login`),
whether to ask at all (HF_HUB_OFFLINE), and brings the session. Its own downloads begin anew in
every process, and read an answer of whatever size, so files and answers are read here: bounded,
from where an earlier run stopped. Nothing that comes is believed; no error shows the token.
"""

import difflib
import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, NoReturn
from urllib.parse import quote

import httpx2
from huggingface_hub import constants, get_session, get_token
from huggingface_hub.errors import OfflineModeIsEnabled

from pi_cluster.cluster.errors import HubError, HubUnreachable
from pi_cluster.cluster.shown import shown_line
from pi_cluster.cluster.version import VERSION
from pi_cluster.deploy.models.model_name import ModelName
from pi_cluster.shard_tool.sources.wanted_files import ListedFile

_MAX_ANSWER_BYTES = 32_000_000  # a listing of some 100 000 files
_MAX_FILES = 100_000
_MAX_FILE_BYTES = 1 << 42
_ANSWER_TIMEOUT_S = 60.0  # for all of an answer that is no file
_RANGE_NOT_SATISFIABLE = 416  # httpx2 renames its own word for it
_COMMIT = re.compile(r"[0-9a-f]{40}")
_DIGEST = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_TOKEN = re.compile(r"[!-~]{1,400}")


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository at one commit."""

    repo_id: str
    """In the capitals that it has there."""
    commit: str
    files: tuple[ListedFile, ...]


class Hub:
    """Asks one hub, over one session. Raises ``HubError`` for all that goes wrong there.

    ``HubUnreachable`` is for what may be otherwise in a moment.
    """

    def __init__(self) -> None:
        self._at = constants.ENDPOINT
        self._headers = {"user-agent": f"pi-cluster/{VERSION}", "accept-encoding": "identity"}
        token = get_token()
        if token and not _TOKEN.fullmatch(token):
            raise HubError(
                "the token in HF_TOKEN, or that which `hf auth login` saved, has characters that "
                f"no token has: copy it anew from {self._at}/settings/tokens"
            )
        if token:
            self._headers["authorization"] = f"Bearer {token}"

    def look_up(self, name: ModelName) -> Repository:
        """What a repository has at the revision that is named, or at the head of main."""
        revision = quote(name.revision or "main", safe="")
        path = f"/api/models/{name.repo_id}/revision/{revision}?blobs=true"
        try:
            values = self._ask(path, name)
        except _NoSuchModel as error:
            similar = " or ".join(self._similar(name))
            raise HubError(f"{error}{f'. Did you mean {similar}?' if similar else ''}") from None
        try:
            repo_id, commit, listed = values["id"], values["sha"], values["siblings"]
            if not _COMMIT.fullmatch(commit):
                raise ValueError("its commit is none")
            files = tuple(map(_listed, listed[:_MAX_FILES]))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise HubError(
                f"{self._at} says of {name.repo_id} what no hub says ({shown_line(str(error))[:80]}"
                f"): see whether HF_ENDPOINT is right"
            ) from None
        is_same = isinstance(repo_id, str) and repo_id.lower() == name.repo_id.lower()
        return Repository(repo_id if is_same else name.repo_id, commit, files)

    @contextmanager
    def blocks(
        self, name: ModelName, commit: str, file: ListedFile, start: int, stop: int | None = None
    ) -> Iterator[tuple[int, Iterator[bytes]]]:
        """Where a file's bytes begin, ``start`` or, if the hub knows no ranges, 0; and those.

        They go up to ``stop``, or, if the hub knows no ranges, to the end. The hub may break off,
        which raises ``HubUnreachable``, but never gives more than was listed.
        """
        url = f"{self._at}/{name.repo_id}/resolve/{commit}/{quote(file.path)}"
        last = file.size_bytes - 1 if stop is None else stop - 1
        headers = {}
        if start or stop is not None:
            headers["range"] = f"bytes={start}-{'' if stop is None else last}"
        with self._opened(url, name, headers, file.path) as response:
            is_part = response.status_code == httpx2.codes.PARTIAL_CONTENT
            if is_part:
                self._check_part(response, file, start, last)
            begin = start if is_part else 0
            yield begin, self._bounded(response, file, begin)

    def _similar(self, name: ModelName) -> list[str]:
        """What somebody who typed this may have meant, be it the owner or the model misspelt."""
        ids: set[str] = set()
        for asked in (f"author={quote(name.org)}&limit=500", f"search={quote(name.repo)}&limit=50"):
            with suppress(HubError, KeyError, TypeError):
                ids |= {str(one["id"])[:200] for one in self._ask(f"/api/models?{asked}", name)}
        return difflib.get_close_matches(name.repo_id, sorted(ids), n=3, cutoff=0.6)

    def _check_part(
        self, response: httpx2.Response, file: ListedFile, first: int, last: int
    ) -> None:
        said = response.headers.get("content-range", "").replace(" ", "")
        match = re.fullmatch(r"bytes(\d{1,20})-(\d{1,20})/(\d{1,20}|\*)", said)
        total = file.size_bytes if match is None or match[3] == "*" else int(match[3])
        if total < file.size_bytes:
            raise self._less(file.path)
        if total > file.size_bytes:
            raise self._more(file)
        if match is None or (int(match[1]), int(match[2])) != (first, last):
            raise HubError(f"{self._at} sends another part of {file.path} than was asked for")

    def _less(self, path: str) -> HubError:
        return HubError(f"the hub has less of {shown_line(path)} than it lists: tell its owner")

    def _more(self, file: ListedFile) -> HubError:
        return HubError(
            f"{self._at} sends more of {shown_line(file.path)} than the "
            f"{file.size_bytes} bytes that it listed: nothing of that is used"
        )

    def _bounded(self, response: httpx2.Response, file: ListedFile, begin: int) -> Iterator[bytes]:
        seen = begin
        for block in response.iter_raw():
            seen += len(block)
            if seen > file.size_bytes:
                raise self._more(file)
            yield block

    def _ask(self, path: str, name: ModelName) -> Any:
        """An answer's JSON, however long a stranger would make it."""
        body, until = bytearray(), time.monotonic() + _ANSWER_TIMEOUT_S
        with self._opened(self._at + path, name, {}) as response:
            for block in response.iter_raw():
                body += block
                if len(body) > _MAX_ANSWER_BYTES or time.monotonic() > until:
                    raise HubError(
                        f"{self._at} answers without end: see whether HF_ENDPOINT is right"
                    )
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            raise HubError(
                f"{self._at} answers with something that is no JSON, as a proxy or a hotel's page "
                "does: see whether this machine is on the internet, and HF_ENDPOINT right"
            ) from None

    @contextmanager
    def _opened(
        self, url: str, name: ModelName, headers: dict[str, str], path: str = ""
    ) -> Iterator[httpx2.Response]:
        timeout = httpx2.Timeout(constants.HF_HUB_DOWNLOAD_TIMEOUT)
        try:
            with get_session().stream(
                "GET", url, headers=self._headers | headers, timeout=timeout, follow_redirects=True
            ) as response:
                if not response.is_success:
                    self._refuse(response, name, path)
                yield response
        except OfflineModeIsEnabled:
            raise HubUnreachable("HF_HUB_OFFLINE says to ask nobody") from None
        except httpx2.TooManyRedirects:
            raise HubError(
                f"{self._at} sends from one place to the next without end: see whether "
                "HF_ENDPOINT and the proxy are right"
            ) from None
        except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError) as error:
            why = shown_line(str(error))[:120] or type(error).__name__
            raise HubUnreachable(
                f"{self._at} cannot be reached, or broke off ({why}): see whether this machine is "
                "on the internet"
            ) from None

    def _refuse(self, response: httpx2.Response, name: ModelName, path: str) -> NoReturn:
        """Say what an answer that is none means, and what to do."""
        code = response.headers.get("x-error-code", "")
        status, has_token = response.status_code, "authorization" in self._headers
        page, tokens = f"{self._at}/{name.repo_id}", f"{self._at}/settings/tokens"
        if code == "GatedRepo":
            then = (
                "your token is not of an account that may have it: ask there, and wait until it is"
                if has_token
                else f"then set HF_TOKEN to a token of yours ({tokens})"
            )
            raise HubError(f"{name.repo_id} is gated: accept its licence at {page}; {then}")
        if "Invalid credentials" in response.headers.get("x-error-message", ""):
            raise HubError(
                f"the hub does not know your token (HF_TOKEN, or that of `hf auth login`): make a "
                f"new one at {tokens}"
            )
        if code == "RevisionNotFound":
            raise HubError(
                f"{name.repo_id} has no revision {name.revision!r}: {page}/tree/main shows them"
            )
        if status == _RANGE_NOT_SATISFIABLE:
            raise self._less(path)
        if code == "EntryNotFound" and path:
            raise HubError(f"{name.repo_id} lists {shown_line(path)} and does not have it")
        if code == "RepoNotFound" or status in (401, 404):
            private = "" if has_token else f"; if it is private, set HF_TOKEN to a token ({tokens})"
            raise _NoSuchModel(f"there is no model {name.repo_id} at {self._at}{private}")
        if status == httpx2.codes.FORBIDDEN:
            raise HubError(f"{page} is not to be had: {self._said(response)}")
        said = self._said(response)
        if status in (408, 425, 429) or status >= httpx2.codes.INTERNAL_SERVER_ERROR:
            raise HubUnreachable(f"{self._at} is busy or in trouble ({said}): try again later")
        raise HubError(f"{self._at} refuses {name.repo_id} ({said})")

    def _said(self, response: httpx2.Response) -> str:
        message = shown_line(response.headers.get("x-error-message", ""))[:200]
        return f"{response.status_code} {message or response.reason_phrase}".strip()


class _NoSuchModel(HubError):
    """Nothing of this name is there, or not for us."""


def _listed(values: Any) -> ListedFile:
    lfs = values.get("lfs") or {}
    path, size_bytes = values["rfilename"], lfs.get("size", values.get("size"))
    digest = lfs.get("sha256") or values.get("blobId")
    if not isinstance(path, str) or not _DIGEST.fullmatch(digest):
        raise ValueError("a file without name or digest")
    if type(size_bytes) is not int or not 0 <= size_bytes <= _MAX_FILE_BYTES:
        raise ValueError("a file without size")
    return ListedFile(path, size_bytes, digest)
