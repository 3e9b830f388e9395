"""Whether a shard still holds what was sent: all of it is read, and compared with its digest.

What a stage maps is read twice. Through the page cache, for those are the bytes that it computes
with, and what is not in memory comes from the disk, as it would for the next step. And past the
cache, for those are the bytes that it would compute with after a restart. Neither evicts anything.
"""

import errno
import hashlib
import mmap
import os
from collections.abc import Callable
from io import FileIO

from pi_cluster.cluster.store.manifest import ShardFile
from pi_cluster.worker.shards.damaged import DamagedShard
from pi_cluster.worker.shards.vault import ShardVault

_BLOCK_BYTES = 256 << 10  # two milliseconds of a core without instructions for SHA-256
_OTHER_BYTES = "does not hold the bytes that were sent (its SHA-256 differs)"
_OTHER_BYTES_ON_DISK = f"{_OTHER_BYTES} on the disk, though still in memory"

OnBlock = Callable[[int], None]
"""Is told the bytes of each block; what it raises ends the reading."""


def problem_of(
    vault: ShardVault, digest: str, mapped: ShardFile | None, on_block: OnBlock
) -> tuple[str, int | None]:
    """What is wrong with a shard, empty if nothing, and the inode of the file that was read.

    ``mapped`` is the file that a stage maps under this digest. Raises ``FileNotFoundError`` when
    the shard is not here, and is not mapped either.
    """
    try:
        return _compared(vault, digest, mapped, on_block)
    except FileNotFoundError:
        if mapped is None:
            raise
        return "is missing", None
    except OSError as error:
        return f"cannot be read: {error.strerror}", vault.inode_of(digest)


def set_aside_if_damaged(vault: ShardVault, file: ShardFile) -> None:
    """Compare a shard that is about to be mapped, unless that was done since the process began.

    It is read once, through the page cache: a stage would compute with these bytes. One that is
    missing is for whoever maps it to tell.
    """
    if file.sha256 in vault.compared:
        return
    inode: int | None
    try:
        with vault.open(file.sha256) as source:
            inode = os.fstat(source.fileno()).st_ino
            problem = "" if _sha256(source, lambda _: None) == file.sha256 else _OTHER_BYTES
    except FileNotFoundError:
        return
    except OSError as error:
        problem, inode = f"cannot be read: {error.strerror}", vault.inode_of(file.sha256)
    if problem:
        vault.set_aside(DamagedShard(file.sha256, file.name, problem), inode)
    else:
        vault.compared.add(file.sha256)


def _compared(
    vault: ShardVault, digest: str, mapped: ShardFile | None, on_block: OnBlock
) -> tuple[str, int]:
    with vault.open(digest) as source:
        status = os.fstat(source.fileno())
        if mapped and status.st_size != mapped.size_bytes:
            return f"has {status.st_size} bytes instead of {mapped.size_bytes}", status.st_ino
        if mapped and _sha256(source, on_block) != digest:
            return _OTHER_BYTES, status.st_ino
        if _from_disk(vault, digest, source, on_block) == digest:
            return "", status.st_ino
    return _OTHER_BYTES_ON_DISK if mapped else _OTHER_BYTES, status.st_ino


def _from_disk(vault: ShardVault, digest: str, cached: FileIO, on_block: OnBlock) -> str:
    """The digest of what lies on the disk, or in memory where that cannot be gone past."""
    try:
        source = vault.open(digest, past_cache=True)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        cached.seek(0)
        return _sha256(cached, on_block)
    with source:
        return _sha256(source, on_block)


def _sha256(source: FileIO, on_block: OnBlock) -> str:
    found = hashlib.sha256()
    block = memoryview(mmap.mmap(-1, _BLOCK_BYTES))  # aligned, as direct reads want it
    while count := source.readinto(block):
        found.update(block[:count])
        on_block(count)
    return found.hexdigest()
