"""Whose weights a healer may have brought to this node: those that an operator has named.

A healer mends the pipeline that is up, and brings up no other. What it may have found, fetched and
loaded is the store that an operator asked after last, or gave a stage of.
"""

import logging
import threading
from collections.abc import Collection
from pathlib import Path
from typing import Any

from pi_cluster.cluster.errors import AccessError, ClusterError, StoreError
from pi_cluster.cluster.json_file import JsonFile
from pi_cluster.cluster.store.manifest import MAX_FILES, Manifest
from pi_cluster.cluster.trust.identity import Identity

log = logging.getLogger(__name__)

_VERSION = 1
_DIGEST_CHARACTERS = 64


class NamedShards:
    """The digests of one store. For any thread.

    They are kept in a file of the data directory, if one is given: so a node without a stage, which
    others' layers may come to, knows them after a restart too.
    """

    def __init__(self, data_dir: Path | None = None) -> None:
        next_step = "remove it; the next `up` writes it anew"
        path = data_dir and data_dir / "named-shards.json"
        self._file = JsonFile(path, next_step, _VERSION) if path else None
        self._lock = threading.Lock()  # of both, which change together
        self._shards, self._store = self._read()

    def forget(self) -> None:
        """Know of no store any more, and keep no file of it."""
        with self._lock:
            self._shards, self._store = frozenset(), ""
            if self._file:
                self._file.remove()

    def name(self, shards: Collection[str]) -> None:
        """An operator asks after all shards of a store, or after some of one that was named."""
        with self._lock:
            if not self._shards.issuperset(shards):
                self._set(frozenset(shards), "")

    def name_store(self, manifest: Manifest) -> None:
        """An operator gives this node a stage."""
        with self._lock:
            if manifest.digest != self._store:
                self._set(frozenset(file.sha256 for file in manifest.files), manifest.digest)

    def check(self, healer: Identity, shards: Collection[str]) -> None:
        """Raise ``AccessError`` unless all of these are of the store that was named."""
        with self._lock:
            is_named = self._shards.issuperset(shards)
        if not is_named:
            raise _beyond(healer)

    def check_store(self, healer: Identity, manifest: Manifest, also: Collection[str]) -> None:
        """Raise ``AccessError`` unless this is that store, as far as is known of it.

        ``also`` are further shards, which must be of it too.
        """
        self.check(healer, {*also, *(file.sha256 for file in manifest.files)})
        with self._lock:
            store = self._store
        if store not in ("", manifest.digest):  # the same weights, to be used differently
            raise _beyond(healer)

    def _set(self, shards: frozenset[str], store: str) -> None:
        if len(shards) > MAX_FILES:
            return  # no store has as many: whoever asked is told so
        self._shards, self._store = shards, store
        try:
            if self._file:
                self._file.write({"sha256": sorted(shards), "store": store})
        except StoreError as error:
            log.warning("after a restart no healer may bring layers here: %s", error)

    def _read(self) -> tuple[frozenset[str], str]:
        try:
            return (self._file and self._file.read(_named)) or (frozenset(), "")
        except ClusterError as error:
            log.warning("no healer may bring layers here until the next `up`: %s", error)
            return frozenset(), ""


def _beyond(healer: Identity) -> AccessError:
    return AccessError(
        f"{healer.label} may mend the pipeline with the model that is up, and bring no other: that "
        "takes an operator"
    )


def _named(values: dict[str, Any]) -> tuple[frozenset[str], str]:
    shards, store = values["sha256"], values["store"]
    if len(shards) > MAX_FILES:
        raise ValueError(f"it names {len(shards)} shards")
    digests = [*shards, *([store] if store else [])]
    if not all(isinstance(one, str) and len(one) == _DIGEST_CHARACTERS for one in digests):
        raise ValueError("it names what is no digest")
    return frozenset(shards), store
