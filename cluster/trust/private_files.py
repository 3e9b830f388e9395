"""Small files that are secrets, or vouch for something: bounded, and closed to other users."""

import contextlib
from pathlib import Path

from pi_cluster.cluster.errors import AccessError
from pi_cluster.cluster.trust.certificates import MAX_PEM_BYTES

_OTHERS = 0o077


def make_private_folder(folder: Path) -> None:
    """A folder for its owner alone; one that others may look into is closed to them."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if folder.stat().st_mode & _OTHERS:
        folder.chmod(0o700)


def read_file(path: Path) -> bytes:
    """A small file. Raises ``AccessError`` naming it when it cannot be read, or is not small."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_PEM_BYTES + 1)
    except OSError as error:
        raise AccessError(f"{path} cannot be read: {error.strerror}") from None
    if len(data) > MAX_PEM_BYTES:
        raise AccessError(f"{path} is too large to be what its name says")
    return data


def read_private(path: Path) -> bytes:
    """As :func:`read_file`, for a file that nobody else may be able to read."""
    with contextlib.suppress(OSError):
        mode = path.stat().st_mode
        if mode & _OTHERS:
            raise AccessError(
                f"{path} can be read by others (mode {mode & 0o777:04o}), so its secret may be "
                f"known: run `chmod 600 {path}`, and make a new one if others use this machine"
            )
    return read_file(path)
