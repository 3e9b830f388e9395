"""Names in the folder of shards: whole ones, and the beginnings of others."""

import contextlib
import re
from pathlib import Path

from pi_cluster.cluster.atomic_file import PARTIAL_SUFFIX
from pi_cluster.cluster.errors import NodeError

_DIGEST = re.compile(r"[0-9a-f]{64}")
_SHARD_SUFFIX = ".safetensors"


def shards_folder(data_dir: Path) -> Path:
    """Where a worker keeps its shards."""
    return data_dir / "shards"


class ShardFolder:
    """``<sha256>.safetensors`` is a whole shard, ``<sha256>.partial`` the beginning of one."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def shard(self, digest: str) -> Path:
        """Where a whole shard lies, or would. Raises ``NodeError`` for what is no digest."""
        if not _DIGEST.fullmatch(digest):
            raise NodeError("a shard is named by 64 hexadecimal digits")
        return self.path / (digest + _SHARD_SUFFIX)

    def partial(self, digest: str) -> Path:
        """Where its beginning lies, or would."""
        return self.shard(digest).with_suffix(PARTIAL_SUFFIX)

    def files(self) -> list[Path]:
        """All of both kinds."""
        suffixes = (_SHARD_SUFFIX, PARTIAL_SUFFIX)
        return [path for path in self.path.iterdir() if path.suffix in suffixes]

    def digests(self) -> list[str]:
        """Of the whole ones."""
        paths = [path for path in self.files() if path.suffix == _SHARD_SUFFIX]
        return [path.stem for path in paths if _DIGEST.fullmatch(path.stem)]

    def partials(self) -> list[Path]:
        """The beginnings."""
        return [path for path in self.files() if path.suffix == PARTIAL_SUFFIX]

    def remove_foreign_partials(self) -> None:
        """Remove partial files that are no beginning of a shard."""
        for path in self.path.glob("*" + PARTIAL_SUFFIX):
            if not _DIGEST.fullmatch(path.stem):
                path.unlink()


def size_of(path: Path) -> int | None:
    """The bytes of a file; None where it is missing."""
    with contextlib.suppress(FileNotFoundError):
        return path.stat().st_size
    return None


def written_s(path: Path) -> float:
    """When it was last written, in seconds since 1970; 0 where nothing tells."""
    with contextlib.suppress(OSError):
        return path.stat().st_mtime
    return 0.0
