"""Keys by which programs and people are let in: made once, kept as hashes, taken back by name.

A key reads ``pck_SECRET``, 32 random bytes: so much cannot be guessed, and a plain hash of it tells
nothing. The file is this machine's and this user's, beside what is remembered of the cluster.
"""

import hashlib
import hmac
import re
import secrets
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pi_cluster.cluster import settings
from pi_cluster.cluster.advice import command
from pi_cluster.cluster.atomic_file import locked
from pi_cluster.cluster.errors import AccessError, ClusterError
from pi_cluster.cluster.json_file import JsonFile
from pi_cluster.cluster.private_files import make_private_folder, read_secret

_MARK = "pck_"
_SECRET_BYTES = 32
_MOST_KEYS = 256
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}")
_UNSEEN = (0, 0, 0)  # there may be keys, and they cannot be looked at
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class KeyEntry:
    """A key as it is remembered."""

    name: str
    digest: str
    """SHA-256 of the key, in hexadecimal."""
    created_unix_s: float


def server_folder(cluster: str) -> Path:
    """What a server of this cluster keeps for itself."""
    return settings.cluster_state(cluster) / "server"


class KeyBook:
    """The keys of a cluster's servers on this machine."""

    def __init__(self, cluster: str) -> None:
        self._cluster = cluster
        self._folder = server_folder(cluster)
        again = command(cluster, "key", "create", "NAME")
        self._file = JsonFile(
            self._folder / "keys.json",
            f"remove it, and make new keys with `{again}`",
            version=1,
            is_private=True,
        )

    @property
    def path(self) -> Path:
        """Where they are kept."""
        return self._file.path

    @property
    def entries(self) -> list[KeyEntry]:
        """All keys, oldest first.

        Raises as ``JsonFile.read`` does, and ``AccessError`` when others may read the file.
        """
        return self._file.read(_entries, read_secret) or []

    def create(self, name: str) -> str:
        """A new key, which nothing but its holder remembers. Raises ``AccessError``."""
        if not _NAME.fullmatch(name):
            raise AccessError(
                f"{name!r:.80} is no name of a key: use up to 64 letters, digits and '_.@-', "
                "beginning with a letter or a digit"
            )
        make_private_folder(self._folder)
        key = _MARK + secrets.token_urlsafe(_SECRET_BYTES)
        with locked(self._folder):
            entries = self.entries
            if any(entry.name == name for entry in entries):
                raise AccessError(
                    f"there is a key {name!r} already: choose another name, or take it back with "
                    f"`{command(self._cluster, 'key', 'revoke', name)}`"
                )
            if len(entries) >= _MOST_KEYS:
                raise AccessError(f"there are {_MOST_KEYS} keys already: revoke one of them")
            self._write([*entries, KeyEntry(name, _digest(key), time.time())])
        return key

    def revoke(self, name: str) -> None:
        """Let nobody in by a key any more. Raises ``AccessError`` for an unknown one."""
        kept = [entry for entry in self.entries if entry.name != name]
        if len(kept) == len(self.entries):
            listing = command(self._cluster, "key", "list")
            raise AccessError(f"there is no key {name!r:.80}: see `{listing}`")
        with locked(self._folder):
            self._write([entry for entry in self.entries if entry.name != name])

    def _write(self, entries: list[KeyEntry]) -> None:
        self._file.write({"keys": [asdict(entry) for entry in entries]})


class FollowedKeys:
    """The keys as they are now: changes count with the next request."""

    def __init__(self, book: KeyBook, *, always_needed: bool, never_needed: bool = False) -> None:
        """Where they are neither, a key is needed as soon as there is one."""
        self._book = book
        self._always, self._never = always_needed, never_needed
        self._seen: tuple[int, int, int] | None = None
        self._entries: list[KeyEntry] = []
        self._is_torn = False

    @property
    def are_needed(self) -> bool:
        """Whether nobody is let in without one."""
        if self._never:
            return False
        self._follow()
        return self._always or self._is_torn or bool(self._entries)

    def asker(self, key: str) -> str | None:
        """The name of a key; None for one that is not good."""
        self._follow()
        digest, found = _digest(key), None
        for entry in self._entries:  # all of them: how long it takes tells nothing
            if hmac.compare_digest(entry.digest, digest):
                found = entry.name
        return found

    def _follow(self) -> None:
        try:
            stat = self._book.path.stat()
            seen = (stat.st_mtime_ns, stat.st_ino, stat.st_size)
        except FileNotFoundError:
            seen = None
        except OSError:
            seen = _UNSEEN
        if seen == self._seen:
            return
        self._seen = seen
        try:
            self._entries, self._is_torn = self._book.entries, False
        except ClusterError:
            # Whoever cannot be told from a stranger is one.
            self._entries, self._is_torn = [], True


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def _entries(values: dict[str, Any]) -> list[KeyEntry]:
    found = [KeyEntry(**one) for one in values["keys"]]
    for one in found:
        if not _NAME.fullmatch(one.name) or not _DIGEST.fullmatch(one.digest):
            raise ValueError("an entry is none")
        float(one.created_unix_s)
    return found
