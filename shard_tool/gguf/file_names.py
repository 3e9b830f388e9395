"""The names of GGUF files: how a model was quantised, and which part of it a file is.

Nothing but custom has them so: ``...-Q4_K_M.gguf``, ``...Q8_0-00001-of-00003.gguf``.
"""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

DEFAULT_QUANTISATION = "Q4_K_M"
SUFFIX = ".gguf"

_PART = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})")
_QUANTISATION = re.compile(
    r"(?:^|[-._])(?P<label>(?:UD-)?(?:I?Q\d(?:_[A-Z0-9]+)*|TQ\d(?:_\d)*|B?F16|F32|FP16|FP32|MXFP4"
    r"(?:_MOE)?))$",
    re.IGNORECASE,
)
# Three bits and fewer, codebooks but one, and those packed for one processor.
_NOT_READ = re.compile(
    r"(?:UD-)?(?:I?Q[123](?:_.*)?|IQ(?!4_NL)\d.*|TQ.*|MXFP.*|Q4_0_\d.*)", re.IGNORECASE
)
_NO_MODELS = ("mmproj", "imatrix", "mtp-")  # towers of images, statistics, drafts


@dataclass(frozen=True, slots=True)
class GgufName:
    """What a path says of a file."""

    whole: str
    """The path without part and suffix: the same for all parts of a model."""
    quantisation: str
    """As it stands there, in capitals; "" where nothing does."""
    part: int
    parts: int

    @property
    def is_read(self) -> bool:
        """Whether such weights are read here, as far as a name tells."""
        return not _NOT_READ.fullmatch(self.quantisation)


@dataclass(frozen=True, slots=True)
class PartName:
    """The name of one file of a model in several."""

    stem: str
    number: int
    count: int


def part_name(name: str) -> PartName | None:
    """What the name of a file says of the part that it is; None for a model in one file."""
    pure = PurePosixPath(name)
    part = _PART.fullmatch(pure.stem) if pure.suffix.lower() == SUFFIX else None
    return PartName(part["stem"], int(part["number"]), int(part["count"])) if part else None


def gguf_name(path: str) -> GgufName | None:
    """What a path in a repository says; None if it is not that of a model in GGUF."""
    pure = PurePosixPath(path)
    if pure.suffix.lower() != SUFFIX or pure.name.lower().startswith(_NO_MODELS):
        return None
    part = part_name(pure.name) or PartName(pure.stem, 1, 1)
    label = _QUANTISATION.search(part.stem)
    quantisation = label["label"].upper() if label else ""
    return GgufName(str(pure.with_name(part.stem)), quantisation, part.number, part.count)
