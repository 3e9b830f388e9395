"""Prompts and answers in a file, for whoever asks for that by name; else no text is kept."""

import json
import os
import time
from pathlib import Path
from typing import Self

from pi_cluster.cluster.errors import SystemFailure
from pi_cluster.cluster.system_failure import system_failure
from pi_cluster.coordinator.asking.answer import Answer
from pi_cluster.coordinator.asking.question import Prompt


class PromptLog:
    """One JSON object a line and answer, in a file that only its owner can read."""

    def __init__(self, path: Path) -> None:
        """Raises ``SystemFailure`` where it cannot be written, or others may read it."""
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise system_failure(error, what=path) from None
        self._file = os.fdopen(descriptor, "ab", buffering=0)
        if os.fstat(descriptor).st_mode & 0o077:
            self._file.close()
            raise SystemFailure(f"{path} can be read by others: run `chmod 600 {path}`")

    def write(self, prompt: Prompt, answer: Answer, asker: str) -> None:
        """Append an answer and what it was asked for."""
        line = {
            "unix_s": round(time.time(), 3),
            "asker": asker,
            "prompt": prompt if isinstance(prompt, str) else list(prompt),
            "answer": answer.text if answer.text is not None else answer.ids,
            "finish_reason": answer.finish_reason.value,
        }
        self._file.write(json.dumps(line, default=str).encode() + b"\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self._file.close()
