"""Files of weights before they are fetched: their headers, and as much room as the rest will take.

Such a sketch opens as the file itself will, and takes hardly more of the disk than its header. So a
model is judged by what sharding judges it by, while there is nothing but some megabytes of it.
"""

from collections.abc import Sequence
from pathlib import Path

from pi_cluster.cluster.store.tensor_file import MAX_HEADER_BYTES
from pi_cluster.deploy.models.fetching import Fetching
from pi_cluster.shard_tool.gguf.header import read_beginning
from pi_cluster.shard_tool.gguf.header_bytes import HeaderBytes
from pi_cluster.shard_tool.sources.wanted_files import ListedFile
from pi_cluster.transformer.families.gguf_metadata import ROPE_FACTORS

_FIRST_BYTES = 1 << 20  # then as much again as there is: four requests for most vocabularies
_MOST_FACTOR_BYTES = 1 << 18
_LENGTH_BYTES = 8  # of the header of a safetensors


def sketch_gguf(fetching: Fetching, files: Sequence[ListedFile], folder: Path) -> Path:
    """Sketch a model in GGUF, its parts in order; returns the first.

    Raises ``HubError``, and ``CheckpointError`` for a header that is not sound.
    """
    for file in files:
        path = folder / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        beginning = _Beginning(fetching, file)
        header = read_beginning(HeaderBytes(path, beginning, file.size_bytes))
        parts = {0: bytes(beginning.there)}
        # The one tensor of which the values say whether a model is read.
        factors = header.tensors.get(ROPE_FACTORS)
        if factors and factors.size_bytes <= _MOST_FACTOR_BYTES:
            stop = factors.offset + factors.size_bytes
            parts[factors.offset] = fetching.part(file, factors.offset, stop)
        _write(path, parts, file.size_bytes)
    return folder / files[0].path


def sketch_safetensors(fetching: Fetching, file: ListedFile, folder: Path) -> Path:
    """Sketch one file of safetensors, whatever its header says. Raises ``HubError``."""
    first = fetching.part(file, 0, min(_LENGTH_BYTES, file.size_bytes))
    stop = _LENGTH_BYTES + int.from_bytes(first, "little")
    if stop <= min(file.size_bytes, MAX_HEADER_BYTES):
        first = fetching.part(file, 0, stop)
    _write(folder / file.path, {0: first}, file.size_bytes)
    return folder / file.path


class _Beginning:
    """The bytes of a file from its beginning on, fetched as they are read."""

    def __init__(self, fetching: Fetching, file: ListedFile) -> None:
        self._fetching, self._file = fetching, file
        self._position = 0
        self.there = bytearray()

    def read(self, count: int, /) -> bytes:
        stop = min(self._position + count, self._file.size_bytes)
        if stop > len(self.there):
            until = max(stop, 2 * len(self.there), _FIRST_BYTES)
            until = min(until, self._file.size_bytes)
            self.there += self._fetching.part(self._file, len(self.there), until)
        start, self._position = self._position, stop
        return bytes(self.there[start:stop])


def _write(path: Path, parts: dict[int, bytes], size_bytes: int) -> None:
    with path.open("wb") as file:
        for offset, part in parts.items():
            file.seek(offset)
            file.write(part)
        file.truncate(size_bytes)
