"""Small files that are secrets, or vouch for something: bounded, and closed to other users."""

import contextlib
from pathlib import Path

from pi_cluster.cluster.errors import AccessError
from pi_cluster.cluster.small_file import read_small

_MOST_BYTES = 1 << 20  # the longest that is read is a chain of certificates
_OTHERS = 0o077


def make_private_folder(folder: Path) -> None:
    """A folder for its owner alone; one that others may look into is closed to them."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if folder.stat().st_mode & _OTHERS:
        folder.chmod(0o700)


def read_file(path: Path) -> bytes:
    """A small file. Raises ``AccessError`` naming it when it cannot be read, or is not small."""
    try:
        return read_small(path, _MOST_BYTES)
    except OSError as error:
        raise AccessError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise AccessError(f"{path} is too large to be what its name says: {error}") from None


def read_private(path: Path) -> bytes:
    """As :func:`read_file`, for a file that nobody else may be able to read."""
    _refuse_exposed(path)
    return read_file(path)


def read_secret(path: Path, most_bytes: int) -> bytes:
    """As ``read_small``, and raises ``AccessError`` when others may read the file."""
    _refuse_exposed(path)
    return read_small(path, most_bytes)


def _refuse_exposed(path: Path) -> None:
    with contextlib.suppress(OSError):
        mode = path.stat().st_mode
        if mode & _OTHERS:
            raise AccessError(
                f"{path} can be read by others (mode {mode & 0o777:04o}), so its secret may be "
                f"known: run `chmod 600 {path}`, and make a new one if others use this machine"
            )
