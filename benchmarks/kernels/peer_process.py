"""The peer, llama.cpp, in a process of its own on the same core; it waits while we compute."""

import json
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).parents[2]


class PeerError(Exception):
    """The peer is not installed, or gave up; the message says which."""


class PeerProcess:
    """Sends one request at a time and waits for its answer, so that never both compute."""

    def __init__(self, python: str, folder: Path, core: int) -> None:
        check = subprocess.run([python, "-c", "import gguf, llama_cpp"], capture_output=True)
        if check.returncode:
            raise PeerError("not measured: install the group bench")
        self._log = folder / "peer.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [python, "-m", "benchmarks.kernels.peer.serve", str(folder), str(core)],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait()

    def ask(self, do: str, **values: object) -> dict[str, Any]:
        """What the peer answers. Raises ``PeerError`` with its last words if it has ended."""
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, **values}) + "\n")
            self._process.stdin.flush()
            answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        except (BrokenPipeError, json.JSONDecodeError) as error:
            last = self._log.read_text(errors="replace").strip().splitlines()[-3:]
            raise PeerError(f"not measured: the peer ended: {' / '.join(last)}") from error
        return answer
