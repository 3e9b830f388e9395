"""What a virtual model says: it plays scripts back, and is confused by anything else.

A script is a whole text, prompt and answer, as token ids. The second id of a prompt names it. As
long as a sequence agrees with its script, the model's next token is the script's; a row that comes
after a wrong guess gets ``CONFUSED``, as a real model's would be of no use. So a coordinator that
keeps what followed a wrong guess shows it in its answer.
"""

from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from benchmarks.virtual.mistral import EOS_ID

CONFUSED = 3
FIRST_NAME = 100
"""The second id of script 0's prompt; scripts hold no other ids below ``FIRST_WORD``."""
FIRST_WORD = 200

Script = Sequence[int]


class PlayedSequence:
    """The cache of a virtual stage: the ids of one sequence, and how far they follow a script."""

    def __init__(self, scripts: Sequence[Script]) -> None:
        self._scripts = scripts
        self._ids: list[int] = []
        self._agreed = 0

    @property
    def size_bytes(self) -> int:
        """Bytes held now: nothing to speak of."""
        return 0

    def extend(self, ids: NDArray[np.integer]) -> list[int]:
        """Take the ids of the next positions; returns the token that follows each of them."""
        following = []
        for token in ids.tolist():
            self._ids.append(token)
            script = self._script()
            position = len(self._ids) - 1
            if position == self._agreed and position < len(script) and script[position] == token:
                self._agreed += 1
            following.append(self._next(script))
        return following

    def can_truncate(self, length: int) -> bool:  # noqa: ARG002
        """Whether what position ``length`` sees is still known; everything is."""
        return True

    def truncate(self, length: int) -> None:
        """Forget the positions from ``length`` on."""
        assert 0 <= length <= len(self._ids), "a sequence cannot be shortened to more than it is"
        del self._ids[length:]
        self._agreed = min(self._agreed, length)

    def fork(self, length: int) -> Self:
        """A copy of the first ``length`` positions, which may go on as another script."""
        copy = type(self)(self._scripts)
        copy.extend(np.array(self._ids[:length], np.int64))
        return copy

    def _script(self) -> Script:
        """The script that the sequence names; the first id, which names none, fits all of them."""
        if len(self._ids) < 2:
            return self._ids
        number = self._ids[1] - FIRST_NAME
        return self._scripts[number] if 0 <= number < len(self._scripts) else ()

    def _next(self, script: Script) -> int:
        if self._agreed < len(self._ids) or len(self._ids) < 2:
            return CONFUSED
        return script[self._agreed] if self._agreed < len(script) else EOS_ID
