"""The embedded model on local workers, and a server of it, in folders of their own."""

import os
import re
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_READY = re.compile(r"serving on http://127\.0\.0\.1:(\d+)")
_HOMES = ("XDG_STATE_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")


@dataclass(frozen=True, slots=True)
class Served:
    """A server that takes requests."""

    cluster: str
    port: int
    process_id: int


@contextmanager
def served(folder: Path, workers: int, texts: int) -> Iterator[Served]:
    """Bring all of it up, and down at the end. This process takes part in the cluster."""
    os.environ.update({name: str(folder / name) for name in _HOMES})
    program = str(Path(sys.executable).with_name("pi-cluster"))
    named = ["--cluster", f"server-{secrets.token_hex(4)}"]
    up = [program, "up", "--local", str(workers), "--texts", str(texts), *named]
    try:
        subprocess.run(up, check=True, stdout=subprocess.DEVNULL, stderr=sys.stderr)
        words = [program, "serve", "--port", "0", *named]
        process = subprocess.Popen(words, stderr=(folder / "serve.log").open("wb"))
        try:
            yield Served(named[1], _port(process, folder / "serve.log"), process.pid)
        finally:
            process.terminate()
            process.wait()
    finally:
        subprocess.run([program, "down", *named], check=True, stderr=subprocess.DEVNULL)


def _port(process: "subprocess.Popen[bytes]", log: Path) -> int:
    while process.poll() is None:
        if said := _READY.search(log.read_text()):
            return int(said[1])
    raise RuntimeError(f"the server did not start:\n{log.read_text()}")
