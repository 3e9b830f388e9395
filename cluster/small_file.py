"""Small files, read with a bound: what stands in the place of one may be of any size."""

from pathlib import Path


def read_small(path: Path, most_bytes: int) -> bytes:
    """All that a file holds. Raises ``OSError``, and ``ValueError`` when it is larger."""
    with path.open("rb") as file:
        data = file.read(most_bytes + 1)
    if len(data) > most_bytes:
        raise ValueError(f"it has more than {most_bytes} bytes")
    return data
