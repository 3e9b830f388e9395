"""The peer, llama.cpp, in a process of its own on the same core; it waits while we compute."""

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.json_process import JsonProcess, ProcessEnded


class PeerError(Exception):
    """The peer is not installed, or gave up; the message says which."""


class PeerProcess(JsonProcess):
    """The peer of a folder's layers, or of what a program's words name.

    Raises ``PeerError`` unless ``python`` has llama.cpp.
    """

    def __init__(
        self,
        python: str,
        folder: Path,
        core: int,
        program: str = "benchmarks.kernels.peer.serve",
        words: Sequence[str] = (),
    ) -> None:
        check = subprocess.run([python, "-c", "import gguf, llama_cpp"], capture_output=True)
        if check.returncode:
            raise PeerError("not measured: install the group bench")
        command = [python, "-m", program, str(folder), str(core), *words]
        super().__init__(command, folder / "peer.log")

    def ask(self, do: str, **values: object) -> dict[str, Any]:
        """What the peer answers. Raises ``PeerError`` with its last words if it has ended."""
        try:
            return super().ask(do, **values)
        except ProcessEnded as ended:
            raise PeerError(f"not measured: the peer ended: {ended}") from None
